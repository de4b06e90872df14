"""What stands for the notebook's kernel where no notebook is: its shell, its module, and what code leaves there."""

import ast
import builtins
import contextlib
import sys
import types
from collections.abc import Iterator
from typing import Any

from tools.grading.cells.reading import FILE_NAME, RUN_AS_CODE, parsed


class Nothing:
    """Stands for whatever a frontend would give: it can be called, asked and walked, and does nothing."""

    def __call__(self, *_: object, **__: object) -> "Nothing":
        return self

    def __getattr__(self, name: str) -> "Nothing":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __iter__(self) -> Iterator[object]:
        return iter(())

    def __enter__(self) -> "Nothing":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __getitem__(self, key: object) -> "Nothing":
        return self

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def __bool__(self) -> bool:
        return False


class Shell(Nothing):
    """Stands for IPython's shell. Magics that run code run it; there is no system."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.user_ns = self.user_global_ns = namespace

    def __bool__(self) -> bool:
        return True

    def run_line_magic(self, name: str, line: str, *_: object) -> object:
        local = sys._getframe(1).f_locals  # noqa: SLF001  (the one way to learn who calls)
        if name == "timeit":
            return self._ran(line, dict(local))
        return self._ran(line, local) if name in RUN_AS_CODE else Nothing()

    def run_cell_magic(self, name: str, _: str, body: str) -> object:
        if name == "timeit":  # leaves no names behind
            return self._ran(body, {})
        return self._ran(body, self.user_ns) if name in RUN_AS_CODE else Nothing()

    def _ran(self, source: str, local: dict[str, Any]) -> object:
        try:
            return eval(compile(source.strip(), FILE_NAME, "eval"), self.user_ns, local)
        except SyntaxError:
            module = ast.Module([node for node, _ in parsed(source)], [])
            exec(compile(module, FILE_NAME, "exec"), self.user_ns, local)
            return None

    def magic(self, line: str) -> object:
        name, _, rest = line.partition(" ")
        return self.run_line_magic(name.lstrip("%"), rest)

    def run_cell(self, source: str, *_: object, **__: object) -> object:
        return self._ran(source, self.user_ns)

    def ex(self, source: str) -> None:
        exec(source, self.user_ns)

    def ev(self, source: str) -> object:
        return eval(source, self.user_ns)

    def push(self, names: dict[str, Any], *_: object, **__: object) -> None:
        self.user_ns.update(names)

    def getoutput(self, *_: object, **__: object) -> object:
        from IPython.utils.text import SList

        return SList([])


def display(*_: object, display_id: object = None, **__: object) -> object:
    """Shows nothing: there is nobody to see it."""
    return Nothing() if display_id else None


@contextlib.contextmanager
def at_home() -> Iterator[dict[str, Any]]:
    """The names of a notebook before its first cell, in a module called ``__main__`` as in the kernel."""
    main, shown = types.ModuleType("__main__"), sys.modules.get("IPython")
    namespace = main.__dict__
    shell = Shell(namespace)
    namespace |= {"__builtins__": builtins, "display": display, "get_ipython": lambda: shell, "In": [""], "Out": {}}
    before = sys.modules["__main__"], getattr(shown, "get_ipython", None)
    sys.modules["__main__"] = main
    if shown is not None:
        shown.get_ipython = namespace["get_ipython"]  # type: ignore[attr-defined]
    try:
        yield namespace
    finally:
        sys.modules["__main__"] = before[0]
        if shown is not None:
            shown.get_ipython = before[1]  # type: ignore[attr-defined]
