"""Calls that are wrong: what each is answered with, and which functions have none listed yet."""

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable

import pytest

# The function, a call that is wrong, the error, and what its message has to say, the given value last.
Refusal = tuple[Callable, Callable, type[Exception], str]

# A wing of its own; a command, whose parser refuses; what only Record.save and Record.load call.
APART = {"gradclinic.course", "gradclinic.__main__", "gradclinic.recordfile"}


def path_of(function: Callable) -> str:
    return f"{function.__module__.removeprefix('gradclinic.')}.{function.__qualname__}"


def refused(refusals: list[Refusal]) -> pytest.MarkDecorator:
    """A test of its own for each, with ``call``, ``error`` and ``message``."""
    ids = [path_of(function) for function, *_ in refusals]
    return pytest.mark.parametrize(("call", "error", "message"), [rest for _, *rest in refusals], ids=ids)


def check(call: Callable, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert re.search(message, str(caught.value), re.DOTALL), (
        f"the message should say {message!r}, it says: {caught.value}"
    )


def public_callables(wing: str) -> dict[str, Callable]:
    """Path -> every public function and class that takes arguments: those a module defines, or a folder gives.

    ``wing`` is the dotted name of a package. A folder without ``__all__`` is private. What only holds values, such as
    a record, is left out.
    """
    found = {}
    for info in pkgutil.iter_modules(importlib.import_module(wing).__path__, f"{wing}."):
        if info.name in APART:
            continue
        module = importlib.import_module(info.name)
        own = [n for n, v in vars(module).items() if getattr(v, "__module__", None) == info.name and n[0] != "_"]
        for name in getattr(module, "__all__", ()) if info.ispkg else own:
            value = getattr(module, name)
            holds_values = isinstance(value, type) and (dataclasses.is_dataclass(value) or issubclass(value, tuple))
            if not (inspect.isroutine(value) or inspect.isclass(value)) or holds_values:
                continue
            if inspect.signature(value).parameters:
                found[f"{info.name}.{name}"] = value
    return found


def unlisted(refusals: list[Refusal], wing: str) -> list[str]:
    """What is public in a wing of the package, and has no call listed."""
    listed = [function for function, *_ in refusals]
    return [path for path, function in public_callables(wing).items() if function not in listed]
