"""Read the code of a notebook: its statements, and what each of them does. Nothing is run."""

import ast
import contextlib
import re
import symtable
import types
from collections.abc import Iterable
from dataclasses import dataclass, field

from tools.grading.cells.effects import Checks, Effects, Reader, aliases

FILE_NAME = "submission"  # in a traceback
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)  # what a parser says of what is not Python
RUN_AS_CODE = ("time", "capture", "prun")  # magics that leave behind what their code binds
WRITE_FILES = ("writefile", "file")  # and those that write theirs into a file
OPENS = {"open", "Path"}  # what is handed a file's name, whatever that looks like
A_FILE = re.compile(r"[\w.~/ -]{1,200}\.[A-Za-z]\w{0,9}")


@dataclass
class Statement:
    """One statement at the top of a notebook.

    Attributes:
        node: itself.
        cell: number of its cell.
        source: the Python that it was read from.
        binds: the names that it gives a meaning to, or takes it from; "*" if it may be any.
        uses: the names that it takes from the notebook around it: not what is local to a function.
        now: what it does when it is run.
        later: what its functions do when they are called.
        checks: the exercises whose check it calls; "*" if any's.
        checks_later: those whose check its functions call.
        tried: by exercise, what is handed to its check.
        inplace: names with a method that changes in place; of a library, that changes what it is given.
        bare: what it calls only for the effect.
        sets: names of what it sets something in, directly or by a call of ``set...``.
        aliases: for names that it binds, the names of what they may be, hold, or be a part of.
        files: those that it names, as "file cfg.json"; among ``uses``, too.
    """

    node: ast.stmt
    cell: int
    source: str
    binds: set[str]
    uses: set[str]
    now: Effects
    later: Effects
    checks: set[str]
    bare: set[str]
    sets: set[str]
    aliases: dict[str, set[str]]
    checks_later: set[str] = field(default_factory=set)
    tried: dict[str, ast.expr] = field(default_factory=dict)
    inplace: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)

    def checked(self, name: str) -> bool:
        """Whether this calls the check of that exercise."""
        return name in self.checks or ("*" in self.checks and name in self.uses | self.now.words)

    @property
    def imports(self) -> bool:
        return isinstance(self.node, (ast.Import, ast.ImportFrom))

    @property
    def future(self) -> int:
        """What ``from __future__`` asks of the compiler from here on."""
        if not isinstance(self.node, ast.ImportFrom) or self.node.module != "__future__":
            return 0
        import __future__

        known = (getattr(__future__, alias.name, None) for alias in self.node.names)
        return sum(feature.compiler_flag for feature in known if feature)

    @property
    def quick(self) -> bool:
        """Whether it takes no time, whatever it is: an import, a function, a class, a constant."""
        if isinstance(self.node, ast.Assign):
            return not any(isinstance(part, (ast.Call, ast.comprehension)) for part in ast.walk(self.node.value))
        return self.imports or isinstance(self.node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef))

    @property
    def defines(self) -> bool:
        """Whether what it binds may be a function."""
        made_by = (ast.Lambda, ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.IfExp, ast.Tuple)
        value = getattr(self.node, "value", None)
        loop = isinstance(self.node, (ast.For, ast.While, ast.AsyncFor, ast.AugAssign))
        return not loop and (value is None or isinstance(value, made_by))


def statement(node: ast.stmt, cell: int = 0, source: str = "", known: Checks | None = None) -> Statement:
    """Read one statement; ``known`` are the names of checks."""
    reader = Reader(known)
    binds: set[str] = set()
    uses: set[str] = set()
    with contextlib.suppress(*UNREADABLE):  # a `return` outside a function, say
        reader.visit(node)
        top = symtable.symtable(ast.unparse(node), FILE_NAME, "exec")
        binds = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
        binds |= reader.walrus  # in a comprehension too
        uses = global_names(top)
    for part in ast.walk(node):
        if isinstance(part, ast.ImportFrom) and part.names[0].name == "*":
            binds.add("*")
        if isinstance(part, ast.AugAssign) and isinstance(part.target, ast.Name):
            uses.add(part.target.id)
    for effects in (reader.now, reader.later):
        if effects.dynamic:
            uses |= effects.words
    files = files_of(node)
    if "file %run" in files:
        binds.add("*")
    return Statement(
        node,
        cell,
        source,
        binds,
        uses | files,
        reader.now,
        reader.later,
        reader.checks,
        reader.bare,
        reader.sets,
        aliases([node]),
        reader.checks_later,
        reader.tried,
        reader.inplace,
        files,
    )


def files_of(node: ast.stmt) -> set[str]:
    """The files that a statement names, each by the last part of its path; those of the modules that it imports."""
    found: set[str] = set()
    for part in ast.walk(node):
        match part:
            case ast.Import(names):
                found |= {f"{alias.name.partition('.')[0]}.py" for alias in names}
            case ast.ImportFrom(str(module)):
                found.add(f"{module.partition('.')[0]}.py")
            case ast.Call(ast.Name(name), [ast.Constant(str(given)), *_]) if name in OPENS:
                found.add(given)
            case ast.Call(
                ast.Attribute(_, "run_cell_magic" | "run_line_magic"), [ast.Constant(name), ast.Constant(line), *_]
            ):
                if name in WRITE_FILES:
                    found |= set(str(line).split())
                if name == "run":
                    words = str(line).split() or [""]
                    found |= {"%run", words[0], f"{words[0]}.py"}
            case ast.Constant(str(text)) if len(text) < 200 and A_FILE.fullmatch(text):
                found.add(text)
    return {f"file {name.rpartition('/')[2]}" for name in found}


def global_names(table: symtable.SymbolTable) -> set[str]:
    top = table.get_type() == "module"
    names = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global())}
    return names.union(*map(global_names, table.get_children()))


# --- the cells --------------------------------------------------------------------------------------------------------


def parsed(source: str) -> list[tuple[ast.stmt, str]]:
    """The statements of a cell, as IPython reads it, each with the Python that it stands in.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: for what is not Python.
    """
    try:
        found = ast.parse(source, FILE_NAME).body
    except SyntaxError:
        from IPython.core.inputtransformer2 import TransformerManager

        try:
            source = TransformerManager().transform_cell(source)  # type: ignore[no-untyped-call]
        except RuntimeError as error:  # of its own kind: too many magics
            raise ValueError(str(error)) from None
        found = ast.parse(source, FILE_NAME).body
    read: list[tuple[ast.stmt, str]] = []
    for node in found:
        magic = magic_of(node)
        read += [(node, source)] if magic is None else parsed(magic)
        if ends(node):  # and the rest of the cell is not run
            break
    return read


def magic_of(node: ast.stmt) -> str | None:
    """The code in a magic that runs it where it stands, such as ``%%time``; None for all else."""
    match node:
        case ast.Expr(ast.Call(ast.Attribute(_, "run_cell_magic"), [ast.Constant(name), ast.Constant(line), given])):
            pass
        case ast.Expr(ast.Call(ast.Attribute(_, "run_line_magic"), [ast.Constant(name), given])):
            line = ""
        case _:
            return None
    code = given.value if isinstance(given, ast.Constant) else None
    if name not in RUN_AS_CODE or not isinstance(code, str):
        return None
    kept = [word for word in str(line).split() if word.isidentifier()] if name == "capture" else []
    return "".join(f"{word} = get_ipython().captured\n" for word in kept) + code


def ends(node: ast.stmt) -> bool:
    """Whether nothing after this is run."""
    call = node.value if isinstance(node, ast.Expr) else None
    leaves = isinstance(call, ast.Call) and ast.unparse(call.func) in ("exit", "quit", "sys.exit")
    return leaves or isinstance(node, ast.Raise)


def statements(cells: Iterable[str]) -> list[Statement]:
    """The top-level statements of a notebook's code cells. A cell that is not Python is left out, as it is not run."""
    read: list[tuple[ast.stmt, int, str]] = []
    for number, source in enumerate(cells):
        with contextlib.suppress(*UNREADABLE):
            read += [(node, number, python) for node, python in parsed(source)]
    known = Checks()
    with contextlib.suppress(*UNREADABLE):
        known.read(node for node, _, _ in read)
    found = [statement(node, number, python, known) for node, number, python in read]
    share_files(found)
    by_function: dict[str, set[str]] = {}
    for _ in range(5):  # a function that calls a function that checks
        for s in found:
            inner = s.checks_later.union(*(by_function.get(name, set()) for name in s.later.loads))
            if inner:
                for name in s.binds:
                    by_function.setdefault(name, set()).update(inner)
    for s in found:
        s.checks |= set().union(*(by_function.get(name, set()) for name in s.now.loads))
    return found


def share_files(found: Iterable[Statement]) -> None:
    """Whoever uses a name for a file, or a function that names one, names the file as well."""
    known: dict[str, set[str]] = {}
    for _ in range(3):
        for s in found:
            if s.imports:
                continue
            s.files |= set().union(*(known.get(name, set()) for name in s.uses))
            s.uses |= s.files
            if s.files and (s.quick or is_path(s.node)):
                for name in s.binds:
                    known.setdefault(name, set()).update(s.files)


def is_path(node: ast.stmt) -> bool:
    """Whether a statement only makes a name for a file."""
    call = node.value if isinstance(node, ast.Assign) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Path"


def compiled(node: ast.stmt, file: str, flags: int) -> types.CodeType:
    flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: types.CodeType = compile(ast.Module([node], []), file, "exec", flags=flags, dont_inherit=True)
    return code


def fault(source: str) -> str | None:
    """What is wrong with a cell that is not Python, and in which line; None if it is."""
    try:
        for node, _ in parsed(source):
            compiled(node, FILE_NAME, 0)
    except SyntaxError as error:
        place = f" in line {error.lineno}" if error.lineno else ""
        return f"{type(error).__name__}{place}: {error.msg}"
    except UNREADABLE as error:
        return f"{type(error).__name__}: {error}"
    return None
