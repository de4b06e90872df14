"""Run what was chosen of a notebook, call a function in it, and make plain numbers of what it returns."""

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

from tools.grading.cells.choosing import Choice
from tools.grading.cells.kernel import at_home
from tools.grading.cells.reading import FILE_NAME, Statement, compiled, statements

Reply = dict[str, Any]


class Enough(BaseException):
    """A statement that need not be run has taken its time."""


class Patience:
    """Processor time for what is only likely to matter: so much for each statement, and for all of them."""

    def __init__(self) -> None:
        limit = resource.getrlimit(resource.RLIMIT_CPU)[0]
        bounded = limit != resource.RLIM_INFINITY and threading.current_thread() is threading.main_thread()
        self.each, self.left = (limit / 10, limit * 0.4) if bounded else (0.0, 1.0)  # a timer of 0 is none
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


def prepared(name: str, found: Sequence[Statement], choice: Choice, namespace: dict[str, Any]) -> str:
    """Run what was chosen, in the notebook's order. Returns what the last of the sure ones that failed said."""
    slip, flags, patience, again = "", 0, Patience(), []
    at_check: dict[str, Any] = {}
    for i in choice.all():
        s = found[i]
        if i > choice.check and not at_check:
            at_check = dict(namespace)
        flags |= s.future
        try:
            if i in choice.sure:
                run(s, namespace, flags)
            elif patience.left > 0:
                with patience.spent():
                    run(s, namespace, flags)
        except (Exception, SystemExit, KeyboardInterrupt, Enough) as error:  # of what the function may never use
            if i in choice.sure:
                slip = f"{type(error).__name__}: {error}"
                again += [s] if isinstance(error, NameError) else []
    for s in again:  # what it needs may stand further down
        if not s.binds & namespace.keys():
            with contextlib.suppress(Exception, SystemExit):
                run(s, namespace, flags)
    if callable(at_check.get(name)) and not callable(namespace.get(name)):
        namespace.clear()  # the name was taken for something else since
        namespace.update(at_check)
    return slip


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
    if answer is None or isinstance(answer, (bool, int, float, str)):
        return answer
    import torch

    size = answer.numel() if isinstance(answer, torch.Tensor) else getattr(answer, "size", 0)
    if isinstance(size, int) and size > allowance.entries:  # before a list is made of it
        raise TooLarge
    try:  # as the check does
        kind = None if isinstance(answer, torch.Tensor) else torch.float64
        row = torch.as_tensor(answer, dtype=kind).detach().to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return repr(answer)[:200]
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
    name: str, cells: Iterable[str], cases: list[tuple[Any, ...]], entries: int, given: Collection[int] = ()
) -> Reply:
    """What the learner's function does on the cases: ``status`` and ``answers``, or a ``message``.

    Args:
        name: of the function.
        cells: the notebook's code cells.
        cases: what the function is called with.
        entries: how many numbers and lists the answers may have.
        given: numbers of the cells that are as they were given out. Of these only what gives names a meaning is run.

    Raises:
        TooLarge: if the answers have more than ``entries`` numbers and lists.
    """
    allowance, found = Allowance(entries), statements(cells)
    with at_home() as namespace:
        slip = prepared(name, found, Choice(name, found, given), namespace)
        function = namespace.get(name)
        if not callable(function):
            return {"status": "missing", "message": slip}
        # copies, as the check at home makes: a function may change what it is given
        return {"status": "answers", "answers": [plain(function(*copied(case)), allowance) for case in cases]}
