"""Measurements that take long are kept between processes: in a plain form, under a hash of their code."""

import base64
import functools
import hashlib
import inspect
import json
import time
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from gradclinic.record import Record

Given = ParamSpec("Given")
Measured = TypeVar("Measured")


class Kept:
    """A folder of measurements, a file each.

    ``keys.json`` in it gives for each function, by its full name, a hash of its code and of what it is computed with.
    ``tools/measure.py`` writes it. A function that it does not name is computed each time.

    Args:
        folder: where; with None nothing is kept.
    """

    def __init__(self, folder: str | Path | None):
        self.folder = Path(folder) if folder else None

    @functools.cached_property
    def keys(self) -> dict[str, str]:
        file = self.folder / "keys.json" if self.folder else None
        return json.loads(file.read_text()) if file and file.exists() else {}

    def cache(self, function: Callable[Given, Measured]) -> Callable[Given, Measured]:
        """Keep what a function returns; its annotation says what that is made of.

        A call with anything but numbers, texts and sequences of them, such as a function, is computed each time.
        """
        name = f"{function.__module__}.{function.__qualname__}"

        @functools.wraps(function)
        def wrapper(*args: Given.args, **kwargs: Given.kwargs) -> Measured:
            if self.folder is None or name not in self.keys:
                return function(*args, **kwargs)
            bound = inspect.signature(function).bind(*args, **kwargs)
            bound.apply_defaults()
            try:
                given = {parameter: plain(value) for parameter, value in bound.arguments.items()}
            except TypeError:
                return function(*args, **kwargs)
            file = self.folder / file_name(name, self.keys[name], given)
            if not file.exists():
                before = time.process_time()
                result = plain(function(*args, **kwargs))
                seconds = round(time.process_time() - before, 2)
                write(file, {"function": name, "given": given, "seconds": seconds, "result": result})
            kept: Measured = restored(json.loads(file.read_text())["result"], get_type_hints(function)["return"])
            return kept

        return wrapper


def file_name(function: str, key: str, given: dict[str, Any]) -> str:
    """Where the result of one call is kept: its place in the folder."""
    call = json.dumps([function, given], sort_keys=True)
    return f"{key}/{hashlib.sha256(call.encode()).hexdigest()[:16]}.json"


def write(file: Path, entry: dict[str, Any]) -> None:
    """All or nothing: another process may look for the file now."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{uuid.uuid4().hex}")
    beside.write_text(json.dumps(entry))
    beside.replace(file)


def plain(value: object) -> Any:
    """A value as JSON can hold it, to the last bit: numbers, texts, arrays, records, and sequences of them.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list, range)):
        return [plain(part) for part in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        ordered = value.astype(value.dtype.newbyteorder("<"))
        return {"dtype": ordered.dtype.str, "shape": list(value.shape), "data": _text(ordered.tobytes())}
    if isinstance(value, Record):
        with TemporaryDirectory() as folder:
            return {"record": _text(value.save(Path(folder) / "record.npz").read_bytes())}
    raise TypeError(f"expected numbers, texts, arrays or records, got {type(value).__name__}")


def restored(value: Any, kind: Any) -> Any:
    """What ``plain`` was given, of the type that an annotation names."""
    if get_origin(kind) is tuple:
        return tuple(restored(part, hint) for part, hint in zip(value, get_args(kind), strict=True))
    if kind is np.ndarray:
        return np.frombuffer(_bytes(value["data"]), np.dtype(value["dtype"])).reshape(value["shape"]).copy()
    if kind is Record:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "record.npz"
            file.write_bytes(_bytes(value["record"]))
            return Record.load(file)
    if hasattr(kind, "_fields"):  # a named tuple
        return kind(*(restored(part, hint) for part, hint in zip(value, get_type_hints(kind).values(), strict=True)))
    return kind(value)


def _text(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode()


def _bytes(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))
