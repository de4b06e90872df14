"""Run what was chosen of a notebook, call a function in it, and make plain numbers of what it returns."""

import ast
import asyncio
import contextlib
import copy
import linecache
import resource
import signal
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tools.grading.cells.choosing import Choice, always_there
from tools.grading.cells.kernel import at_home
from tools.grading.cells.reading import FILE_NAME, Statement, compiled, statements

Reply = dict[str, Any]
ALWAYS = always_there()
TEXT = 1000  # letters of a text in an answer, which is never a right one
LARGEST = 2000  # bits of a whole number; those of a float have 1024
FRONTEND = {"get_ipython", "display", "In", "Out"}  # what stands for a frontend here gives nothing


class Enough(BaseException):
    """A statement that need not be run has taken its time."""


class Patience:
    """Processor time for what is only likely to matter: so much for each statement, and for all of them."""

    def __init__(self, part: float = 1.0) -> None:
        limit = resource.getrlimit(resource.RLIMIT_CPU)[0]
        bounded = limit != resource.RLIM_INFINITY and threading.current_thread() is threading.main_thread()
        self.each, self.left = (part * limit / 10, part * limit * 0.4) if bounded else (0.0, 1.0)  # 0: no timer
        self._running = False

    def _stop(self, *_: object) -> None:
        if self._running:
            raise Enough

    @contextlib.contextmanager
    def spent(self) -> Iterator[None]:
        began = resource.getrusage(resource.RUSAGE_SELF)
        if self.each:
            signal.signal(signal.SIGPROF, self._stop)
            self._running = True
            signal.setitimer(signal.ITIMER_PROF, self.each, self.each)
        try:
            yield
        finally:
            self._running = False
            if self.each:
                signal.setitimer(signal.ITIMER_PROF, 0)
                ended = resource.getrusage(resource.RUSAGE_SELF)
                self.left -= ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime


def run(s: Statement, namespace: dict[str, Any], flags: int) -> None:
    """Run one statement as the kernel does; what it defines can be asked for its source."""
    file = f"<{FILE_NAME} {s.cell}>"
    linecache.cache[file] = (len(s.source), None, s.source.splitlines(keepends=True), file)
    code = compiled(s.node, file, flags)
    if code.co_flags & 0x80:  # of a coroutine: it awaits
        asyncio.run(eval(code, namespace))
    else:
        exec(code, namespace)


def doubtful(error: BaseException, s: Statement, choice: Choice) -> bool:
    """Whether an error may be this room's, and the learner had none: of files, programs, modules and devices that are
    not here, of a name that a cell further down gives a meaning to, or of numbers that were drawn or learned."""
    if isinstance(error, NameError):
        return choice.bound(error.name or "")
    if isinstance(error, (Enough, ImportError, OSError, EOFError, MemoryError)):
        return True
    if type(error).__name__ in ("UsageError", "SystemExit", "KeyboardInterrupt"):
        return False
    said = str(error).lower()
    return bool(s.uses & (FRONTEND | choice.computed)) or any(
        word in said for word in ("cuda", "mps", "thread", "module '")
    )


def of_this_room(error: BaseException) -> bool:
    """Whether an error may be had here alone: of files, programs, modules, networks and processes that are not here."""
    if isinstance(error, (ProcessLookupError, ChildProcessError, FileExistsError)):
        return False  # of one's own processes and files, as at home
    return isinstance(error, (OSError, ImportError, EOFError)) or "can't start new thread" in str(error)


def touched(s: Statement) -> set[str]:
    """The names whose meaning is not known where this was left out."""
    return s.binds | (s.now.changes | s.now.passes | s.later.changes) - ALWAYS


class Run:
    """One run of what was chosen, in the notebook's order.

    As in IPython, after an error the rest of its cell is not run, if the learner had that error for sure: nothing that
    it rests on was left out, and it is none of this room's. ``strict``: if the learner may have had it.
    """

    def __init__(
        self, choice: Choice, found: Sequence[Statement], given: Collection[int], strict: bool, met: list[str]
    ) -> None:
        """``met``: what errors said that may be this room's are added to it."""
        self.met = met
        self.choice, self.found, self.given, self.strict = choice, found, given, strict
        self.slip, self.dead = "", set[int]()
        self._left_out, self._stopped, self._again = set[str](), set[int](), list[Statement]()
        self._first = choice.before()
        self._chosen = choice.sure | choice.likely | self._first
        self._patience, self._other = Patience(), Patience(0.5)

    def prepare(self, namespace: dict[str, Any]) -> None:
        """Run it. ``slip`` is then what the last of the sure ones that failed said, ``dead`` are those not run."""
        at_check: dict[str, Any] = {}
        flags = 0
        for i, s in enumerate(self.found):
            if i == self.choice.check + 1:
                at_check = dict(namespace)
            if s.cell in self._stopped:
                self.dead.add(i)
                continue
            if i in self._chosen:
                flags |= s.future
                self._one(i, namespace, flags)
            elif not s.checks:
                self._left_out |= touched(s)
        for s in self._again:  # what it needs may stand further down
            if not s.binds & namespace.keys():
                with contextlib.suppress(Exception, SystemExit):
                    run(s, namespace, flags)
        if callable(at_check.get(self.choice.name)):
            namespace.update(at_check)  # what names have been taken for since

    def _one(self, i: int, namespace: dict[str, Any], flags: int) -> None:
        s, sure = self.found[i], i in self.choice.sure
        unsure = bool(s.uses & self._left_out or s.uses & FRONTEND)
        patience = self._patience if i in self.choice.likely else self._other
        if not sure and (patience.left <= 0 or (i in self._first and s.uses & self._left_out)):
            self._left_out |= touched(s)
            return
        try:
            if sure:
                run(s, namespace, flags)
            else:
                with patience.spent():
                    run(s, namespace, flags)
        except (Exception, SystemExit, KeyboardInterrupt, Enough) as error:  # of what the function may never use
            doubt = doubtful(error, s, self.choice) or bool(s.uses & self._left_out)
            if of_this_room(error) and i not in self._first:
                self.met.append(f"{type(error).__name__}: {error}")
            if sure:
                self.slip = f"{type(error).__name__}: {error}"
                self._again += [s] if isinstance(error, NameError) and doubt else []
            late = isinstance(error, (Enough, NameError))
            if s.cell not in self.given and (not doubt or (self.strict and not late)):
                self._stopped.add(s.cell)
            self._left_out |= touched(s)
        else:
            (self._left_out.update if unsure else self._left_out.difference_update)(s.binds)


# --- what comes back --------------------------------------------------------------------------------------------------


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
    if isinstance(answer, str):
        return answer[:TEXT]
    if isinstance(answer, int) and answer.bit_length() > LARGEST:
        return f"a number of {answer.bit_length()} bits"  # which JSON may not write
    if answer is None or isinstance(answer, (bool, int, float)):
        return answer
    import torch

    size = answer.numel() if isinstance(answer, torch.Tensor) else getattr(answer, "size", 0)
    if isinstance(size, int) and size > allowance.entries:  # before a list is made of it
        raise TooLarge
    try:  # as the check does
        kind = None if isinstance(answer, torch.Tensor) else torch.float64
        row = torch.as_tensor(answer, dtype=kind).detach().to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return repr(answer)[:TEXT]
    return plain(torch.Tensor.tolist(row), allowance)


def copied(case: tuple[Any, ...]) -> tuple[Any, ...]:
    """A case to be used up, as the check at home makes one: with the gradients, which a copy of a parameter loses."""
    import torch

    copies: dict[int, Any] = {}
    again = copy.deepcopy(case, copies)
    for original in copies.get(id(copies), []):  # deepcopy keeps there what it has copied
        if isinstance(original, torch.Tensor) and original.is_leaf and original.grad is not None:
            copies[id(original)].grad = original.grad.clone()
    return again


def called(
    name: str,
    cells: Iterable[str],
    cases: list[tuple[Any, ...]],
    entries: int,
    given: Collection[int] = (),
    reading: str = "",
    met: list[str] | None = None,
) -> Reply:
    """What the learner's function does on the cases: ``status`` and ``answers``, or a ``message``.

    Args:
        name: of the function.
        cells: the notebook's code cells.
        cases: what the function is called with.
        entries: how many numbers and lists the answers may have.
        given: numbers of the cells that are as they were given out. Of these only what gives names a meaning is run.
        reading: "" for the plain one; "strict" if errors that the learner may have had end their cell, too; "handed" if
            what counts is not the function of this name, but the one that was handed to its check.
        met: a list, to which is added what errors said that the learner may not have had at home.

    Raises:
        TooLarge: if the answers have more than ``entries`` numbers and lists.
    """
    allowance, found, noted = Allowance(entries), statements(cells), [] if met is None else met
    for _ in range(5):
        with at_home() as namespace:
            going = Run(Choice(name, found, given, reading == "handed"), found, given, reading == "strict", noted)
            going.prepare(namespace)
            if going.choice.check in going.dead and found[going.choice.check].checked(name):
                found = [s for i, s in enumerate(found) if i not in going.dead]  # that check was never called
                continue
            return answered(going, namespace, cases, allowance)
    return {"status": "missing", "message": ""}


def answered(going: Run, namespace: dict[str, Any], cases: list[tuple[Any, ...]], allowance: Allowance) -> Reply:
    """What the function that was asked for returns."""
    wanted = ast.fix_missing_locations(ast.Expression(going.choice.wanted))
    function = None
    with contextlib.suppress(NameError, AttributeError, LookupError):
        function = eval(compile(wanted, FILE_NAME, "eval"), namespace)
    if not callable(function):
        return {"status": "missing", "message": going.slip}
    # copies, as the check at home makes: a function may change what it is given
    return {"status": "answers", "answers": [plain(function(*copied(case)), allowance) for case in cases]}
