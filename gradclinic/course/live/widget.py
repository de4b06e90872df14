"""The live lab in a notebook: it trains in the browser, and gives its record back to Python where there is a kernel."""

from typing import Any

import anywidget
import traitlets

from gradclinic.course.live import record_of, script, style
from gradclinic.record import Record

# JSON has no word for NaN and inf, so they travel as text.
_RENDER = """
const plain = (value) => {
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return Array.from(value, plain);
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
};
export default {
  render({ model, el }) {
    const place = document.createElement("div");
    place.className = "gradclinic-live";
    el.append(place);
    const told = (record) => {
      const held = record && Object.fromEntries(Object.entries(record).map(([name, value]) => [name, plain(value)]));
      model.set("held", held ?? {});
      model.save_changes();
    };
    const lab = gradclinicLive.place(place, { settings: model.get("settings"), onrecord: told });
    return () => lab.end();
  },
};
"""

MODULE = script() + _RENDER  # what the browser runs


class Lab(anywidget.AnyWidget):
    """The live lab, as ``lab`` makes it.

    Attributes:
        settings: what it began with.
        record: of the run that is shown, as of its last pause; None before, or if the network itself was changed while
            it trained.
    """

    _esm = MODULE
    _css = style()
    settings = traitlets.Dict().tag(sync=True)
    held = traitlets.Dict().tag(sync=True)

    @property
    def record(self) -> Record | None:
        return record_of(self.held) if self.held else None

    def __init__(self, settings: dict[str, Any]):
        super().__init__(settings=settings)
