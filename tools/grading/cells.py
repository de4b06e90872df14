"""What of a learner's notebook is run to answer an exercise, and what comes back of it.

Runs in the jail, beside ``inside.py``, which calls it in the fork for one answer. It stands alone in there: at its top
it imports from the standard library only.
"""

import ast
import builtins
import contextlib
import symtable
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

FILE_NAME = "submission"  # in a traceback

Reply = dict[str, Any]


def bound(statement: ast.stmt) -> set[str]:
    """The names that a statement at the top of a notebook gives a meaning to."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(statement):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return names


def statements(cells: Iterable[str]) -> list[ast.stmt]:
    """The top-level statements of a notebook's code cells. What is not Python (magics, a faulty cell) is left out."""
    found = []
    for source in cells:
        python = "\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!", "?")))
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            found += ast.parse(python, FILE_NAME).body
    return found


def used(statement: ast.stmt) -> set[str]:
    """The names that a statement takes from the notebook around it: not what is local to a function."""

    def inside(table: symtable.SymbolTable) -> set[str]:
        top = table.get_type() == "module"
        names = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global())}
        return names.union(*map(inside, table.get_children()))

    with contextlib.suppress(
        SyntaxError, ValueError, RecursionError, MemoryError
    ):  # a `return` outside a function, say
        return inside(symtable.symtable(ast.unparse(statement), FILE_NAME, "exec"))
    return set()


def needed(name: str, found: list[ast.stmt]) -> list[ast.stmt]:
    """Of the statements, those that the function ``name`` rests on, in their order: its imports, helpers, constants."""
    uses = [used(statement) for statement in found]
    names, grown = {name}, True
    chosen: set[int] = set()
    while grown:
        grown = False
        for i, statement in enumerate(found):
            binds = bound(statement)
            if i not in chosen and (binds & names or "*" in binds):
                chosen.add(i)
                names |= uses[i]
                grown = True
    return [statement for i, statement in enumerate(found) if i in chosen]


class TooLarge(Exception):
    """Answers of more numbers than any exercise asks for."""


@dataclass
class Allowance:
    """How many entries the answers of one exercise may still have. Counted before anything is done with them."""

    entries: int

    def take(self, entries: int) -> None:
        """Use up so many, or raise TooLarge if fewer are left."""
        if entries > self.entries:
            raise TooLarge
        self.entries -= entries


def plain(answer: Any, allowance: Allowance) -> object:
    """Numbers, and nested lists of them; anything else becomes a text, which is never a right answer.

    Raises:
        TooLarge: if there are more than the allowance has left.
    """
    if isinstance(answer, (list, tuple)):
        allowance.take(len(answer))
        return [plain(part, allowance) for part in answer]
    if answer is None or isinstance(answer, (bool, int, float, str)):
        return answer
    if hasattr(answer, "detach"):  # a tensor
        answer = answer.detach().numpy(force=True)
    if not hasattr(answer, "tolist"):
        return repr(answer)[:200]
    if answer.size > allowance.entries:  # before a list is made of it
        raise TooLarge
    return plain(answer.tolist(), allowance)


def called(name: str, cells: Iterable[str], cases: list[tuple[Any, ...]], entries: int) -> Reply:
    """What the learner's function does on the cases: ``status`` and ``answers``, or a ``message``.

    Raises:
        TooLarge: if the answers have more than ``entries`` numbers and lists.
    """
    namespace: dict[str, Any] = {"__name__": "submission", "__builtins__": builtins}
    allowance, slip = Allowance(entries), None
    for statement in needed(name, statements(cells)):
        try:
            exec(compile(ast.Module([statement], []), FILE_NAME, "exec"), namespace)
        except Exception as error:  # it may be something that the function never uses
            slip = f"{type(error).__name__}: {error}"
    if not callable(namespace.get(name)):
        return {"status": "missing", "message": slip or ""}
    return {"status": "answers", "answers": [plain(namespace[name](*case), allowance) for case in cases]}
