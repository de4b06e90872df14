"""What stands for the notebook's kernel where no notebook is: its shell, its module, and what code leaves there."""

import ast
import builtins
import contextlib
import importlib.util
import os
import shlex
import sys
import types
from collections.abc import Iterator
from typing import Any

from tools.grading.cells.reading import FILE_NAME, RUN_AS_CODE, WRITE_FILES, parsed

# IPython's own, those of its kernel, and what it makes of a shell's commands. An unknown one is an error.
_WORDS = (
    "alias alias_magic autoawait autocall automagic autosave bookmark capture cat cd clear code_wrap colab "
    "colors conda config connect_info cp debug dhist dirs doctest_mode ed edit env gui hist history "
    "killbgscripts ldir less lf lk ll load load_ext loadpy logoff logon logstart logstate logstop ls lsmagic "
    "lx macro magic mamba man matplotlib micromamba mkdir more mv notebook page pastebin pdb pdef pdoc pfile "
    "pinfo pinfo2 pip popd pprint precision prun psearch psource pushd pwd pycat pylab qtconsole quickref "
    "recall rehashx reload_ext rep rerun reset reset_selective rm rmdir run save sc set_env shell subshell sx "
    "system tb tensorflow_version time timeit unalias unload_ext uv who who_ls whos xdel xmode "
)
LINE_MAGICS = frozenset(_WORDS.split())


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


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
        self._own: dict[tuple[str, str], Any] = {}  # magics that the learner made
        self._more = False  # whether an extension has brought some

    def __bool__(self) -> bool:
        return True

    def run_line_magic(self, name: str, line: str, *_: object) -> object:
        local = sys._getframe(1).f_locals  # noqa: SLF001  (the one way to learn who calls)
        if ("line", name) in self._own:
            return self._own["line", name](line)
        if name in ("env", "set_env"):
            return self._environment(line)
        if name == "load_ext":
            self._more = True
            if not any(map(_there, (line.strip(), f"IPython.extensions.{line.strip()}"))):
                raise ModuleNotFoundError(f"No module named {line.strip()!r}")
        if name not in LINE_MAGICS and not self._more:
            from IPython.core.error import UsageError

            raise UsageError(f"Line magic function `%{name}` not found.")
        if name == "timeit":
            return self._ran(line, dict(local))
        if name == "run":
            return self._ran_file(line)
        return self._ran(line, local) if name in RUN_AS_CODE else Nothing()

    def _environment(self, line: str) -> object:
        name, sign, value = line.strip().partition("=" if "=" in line else " ")
        if not sign:
            return os.environ.get(name) if name else dict(os.environ)
        os.environ[name.strip()] = value.strip()
        return None

    def _written(self, line: str, body: str) -> None:
        words = shlex.split(line)
        adds = bool({"-a", "--append"} & set(words))
        with open(os.path.expanduser(words[-1]), "a" if adds else "w", encoding="utf-8") as file:
            file.write(body)
        importlib.invalidate_caches()

    def _ran_file(self, line: str) -> object:
        words = [word for word in shlex.split(line) if not word.startswith("-")]
        name = os.path.expanduser(words[0]) if words else ""
        with open(name if os.path.exists(name) else f"{name}.py", encoding="utf-8") as file:
            return self._ran(file.read(), self.user_ns)

    def register_magic_function(self, function: Any, magic_kind: str = "line", magic_name: str | None = None) -> None:
        for kind in ("line", "cell") if magic_kind == "line_cell" else (magic_kind,):
            self._own[kind, magic_name or function.__name__] = function

    def run_cell_magic(self, name: str, line: str, body: str) -> object:
        if ("cell", name) in self._own:
            return self._own["cell", name](line, body)
        if name in WRITE_FILES:
            return self._written(line, body)
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
