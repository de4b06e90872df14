"""Choose the statements of a notebook that an answer may rest on."""

import ast
import builtins
from collections.abc import Callable, Collection, Sequence
from typing import Any

from tools.grading.cells.effects import also
from tools.grading.cells.reading import Statement, fault, statements

BUILTINS = {"builtins", "__builtins__"}


def always_there() -> set[str]:
    return {*dir(builtins), "__name__", "display", "get_ipython", "In", "Out"}


def last_check(name: str, found: Sequence[Statement], given: Collection[int]) -> int:
    """The number of the last statement that checks this exercise; of the last of all where none does.

    The last of all, too, where until then the name has no meaning but that of the cell that was given out, and gets one
    below: cells are not always run from top to bottom.
    """
    check = max((i for i, s in enumerate(found) if s.checked(name)), default=len(found) - 1)
    before = [s for s in found[: check + 1] if name in s.binds]
    later = any(name in s.binds and s.defines and s.cell not in given for s in found[check + 1 :])
    return len(found) - 1 if later and all(s.cell in given for s in before) else check


def handed_over(name: str, found: Sequence[Statement]) -> tuple[int, ast.expr] | None:
    """The last check of this exercise that is handed something of another name, and what it is handed."""
    for i, s in reversed(list(enumerate(found))):
        other = s.tried.get(name, s.tried.get("*"))
        foreign = other is not None and not (isinstance(other, ast.Name) and other.id == name)
        if other is not None and foreign and s.checked(name) and isinstance(s.node, (ast.Expr, ast.Assign)):
            return i, other
    return None


def consequences(found: Sequence[Statement]) -> list[tuple[set[str], bool]]:
    """For each statement, what the functions change that it may call, and whether one of them is dynamic."""
    changes: dict[str, set[str]] = {}
    dynamic: set[str] = set()
    grown = True
    while grown:
        grown = False
        for s in found:
            if s.imports:
                continue
            effect = s.later.changes.union(*(changes.get(name, set()) for name in s.uses))
            may = s.later.dynamic or bool(s.uses & dynamic)
            for name in s.binds:
                grown |= not effect <= changes.setdefault(name, set()) or (may and name not in dynamic)
                changes[name] |= effect
                dynamic |= {name} if may else set()
    return [(set().union(*(changes.get(n, set()) for n in s.now.loads)), bool(s.now.loads & dynamic)) for s in found]


class Choice:
    """What of a notebook is run for one exercise.

    The state that counts is that at the check: of what stands after it, only what gives a meaning to a name that had
    none is run. ``sure`` are the numbers of the statements that bind or change what the function rests on. ``likely``
    are those of others that may change it, such as calls that it is handed to, and what those rest on.
    """

    def __init__(
        self, name: str, found: Sequence[Statement], given: Collection[int] = (), handed: bool = False
    ) -> None:
        """``handed``: take the function that was handed to the check in place of the one of this name."""
        other = handed_over(name, found) if handed else None
        check = last_check(name, found, given) if other is None else other[0]
        self.name, self.check = name, check
        self.upto = check
        self.wanted = ast.Name(name, ast.Load()) if other is None else other[1]
        self._found, self._given = found, given
        self._known = always_there().union(*(s.binds for s in found[: self.upto + 1]))
        files = set().union(*(s.files for s in found))
        self._known |= files
        self._bound = always_there().union(files, *(s.binds for s in found))
        self.computed = set().union(*(s.binds for s in found if not s.quick))
        self._effects = consequences(found)
        self._aliases: dict[str, set[str]] = {}
        for s in found:
            for alias, names in s.aliases.items():
                self._aliases.setdefault(alias, set()).update(names)
        imported = set().union(*(s.binds for s in found if s.imports))
        self._imported = imported - set().union(*(s.binds for s in found if not s.imports))
        names = {part.id for part in ast.walk(self.wanted) if isinstance(part, ast.Name)}
        self.sure = self._closed(names, set(), self._surely)
        own = frozenset(names)
        self.likely = self._closed(names, self.sure, lambda i, names: self._perhaps(i, names, own)) - self.sure

    def bound(self, name: str) -> bool:
        """Whether anything in the notebook may give this name a meaning."""
        return name in self._bound or any("*" in s.binds or s.now.dynamic for s in self._found)

    def before(self) -> set[int]:
        """Of the others, those after which what was chosen is not run, or not checked, should they end in an error.

        With what they rest on, as far as that takes no time: imports, functions, constants.
        """
        chosen = self.sure | self.likely
        ends = {s.cell: i for i, s in enumerate(self._found[: self.check + 1]) if i in chosen or s.checked(self.name)}
        found = {
            i
            for i, s in enumerate(self._found[: self.check + 1])
            if i not in chosen and i < ends.get(s.cell, -1) and s.cell not in self._given and not s.checks
        }
        names = set().union(*(self._found[i].uses for i in found))
        grown = True
        while grown:
            grown = False
            for i, s in enumerate(self._found[: self.check]):
                if i not in chosen | found and s.binds & names and s.quick and not s.checks:
                    found.add(i)
                    names |= s.uses
                    grown = True
        return found

    def all(self) -> list[int]:
        """Both, in the notebook's order."""
        return sorted(self.sure | self.likely)

    def _closed(self, names: set[str], chosen: set[int], test: Callable[[int, set[str]], bool]) -> set[int]:
        """All that the test chooses, and then by the names that those use; ``names`` grows with them."""
        chosen, grown = set(chosen), True
        while grown:
            grown = False
            for i, s in enumerate(self._found):
                if i not in chosen and test(i, names if i <= self.upto else names - self._known):
                    chosen.add(i)
                    names |= s.uses
                    grown = True
        return chosen

    def gives(self, i: int, name: str) -> bool:
        """Whether a chosen statement gives this name a meaning, or a function does that it defines or calls."""
        s = self._found[i]
        hidden = self._effects[i][0] | s.later.changes
        return name in s.binds | hidden or (self.binds(i, {name}) and "*" not in s.binds)

    def _ours(self, i: int) -> bool:
        """Whether it may be run for what it changes: not the lab's own experiments, and no check."""
        return self._found[i].cell not in self._given and not self._found[i].checks

    def binds(self, i: int, names: set[str]) -> bool:
        """Whether a statement gives one of these names a meaning."""
        s = self._found[i]
        if s.binds & names or ("*" in s.binds and names):
            return True
        dynamic = s.now.dynamic or self._effects[i][1]
        words = s.now.words - always_there()
        return dynamic and self._ours(i) and bool(words & names or names - self._bound)

    def _surely(self, i: int, names: set[str]) -> bool:
        s = self._found[i]
        return self.binds(i, names) or s.future != 0 or (self._ours(i) and bool(self._changes(i) & names))

    def _changes(self, i: int) -> set[str]:
        """What a statement changes for sure. A library is changed where something of it is set, once, and not by a
        function of it that changes what it is given, nor is a long training run for a setting that stands in it."""
        s = self._found[i]
        libraries = s.now.changes & self._imported
        looped = isinstance(s.node, (ast.For, ast.While, ast.AsyncFor))
        return s.now.changes - libraries | (set() if looped else libraries - (s.inplace - s.sets))

    def _perhaps(self, i: int, names: set[str], own: frozenset[str]) -> bool:
        s = self._found[i]
        if self._surely(i, names):
            return True
        if not self._ours(i) or (s.now.changes & BUILTINS and s.now.words <= always_there()):
            return False  # whoever gives `len` another meaning gets Python's own all the same
        if i <= self.upto and (s.sets & self._imported or (s.files & names and not s.imports)):
            return True
        only_given = (s.inplace - s.sets) & self._imported
        if (also(s.now.changes - only_given, self._aliases) | self._effects[i][0] - self._imported) & names:
            return True
        near = names & own
        touched = s.now.passes | (also(s.now.loads, self._aliases) - s.now.loads)
        return bool(touched & (near - self._imported) or s.bare & near & self._imported)


def looked_at(
    names: Sequence[str], cells: Sequence[str], own: Sequence[int], given: Collection[int] = ()
) -> list[list[Any]]:
    """What a person should know of where answers come from. Reads a notebook, and runs nothing of it.

    Args:
        names: of the functions.
        cells: the notebook's code cells.
        own: for each function the number of the cell where it belongs, or -1.
        given: numbers of the cells that are as they were given out.
    Returns:
        For each function: the numbers of other cells that give its name a meaning, those of the learner's other cells
        that it rests on, and what is wrong with its own cell if it is not Python.
    """
    found = statements(cells)
    told = []
    for name, cell in zip(names, own, strict=True):
        choice = Choice(name, found, given)
        chosen = [
            i for i in sorted(choice.sure | choice.likely) if found[i].cell != cell and found[i].cell not in given
        ]
        elsewhere = [i for i in chosen if choice.gives(i, name)]
        numbers = [sorted({found[i].cell for i in some}) for some in (elsewhere, chosen)]
        told.append([*numbers, fault(cells[cell]) if cell >= 0 else None])
    return told
