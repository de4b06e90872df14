"""What a lab is: its exercises, the essays that a person marks, and its checks."""

import importlib
from dataclasses import dataclass

from gradclinic.course.exercises.check import Check
from gradclinic.course.exercises.exercise import Exercise

# Each lab, in order, and the module here that defines it. It is imported when it is asked for.
_MODULES = {
    "01-gradient-descent": "gradient_descent",
    "02-vanishing": "vanishing",
    "03-exploding": "exploding",
    "04-identification": "identification",
    "05-activations-and-initialization": "starts",
    "06-batch-normalization": "normalization",
    "07-skip-connections": "skips",
    "08-gated-recurrence": "recurrence",
    "09-clipping": "clipping",
    "10-rescue": "rescue",
    "11-your-own-instrument": "instrument",
}


@dataclass(frozen=True)
class Criterion:
    """One line of a rubric: what is looked at, its points, and what earns all of them or half."""

    name: str
    points: int
    full: str
    half: str


@dataclass(frozen=True)
class Essay:
    """What a learner writes in words and a person marks; ``id``, ``claims`` and ``level`` as of an ``Exercise``."""

    id: str
    claims: tuple[str, ...]
    level: str
    rubric: tuple[Criterion, ...]

    @property
    def name(self) -> str:
        return self.id.partition("-")[2]

    @property
    def points(self) -> int:
        return sum(criterion.points for criterion in self.rubric)


@dataclass(frozen=True)
class Lab:
    """The exercises of one lab, and its checks: ``lab.norms(gradient_norms)`` checks the exercise called norms.

    Attributes:
        name: as its folder is called.
        exercises: in their order.
        essays: are marked by a person, and have no check.
        after: the pages to read first, as the table of contents names them.
    """

    name: str
    exercises: tuple[Exercise, ...] = ()
    essays: tuple[Essay, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def rubric(self) -> tuple[tuple[str, int, str], ...]:
        """What a person marks: (criterion, points, what full marks look like) each."""
        return tuple((c.name, c.points, c.full) for essay in self.essays for c in essay.rubric)

    def __getattr__(self, name: str) -> Check:
        for exercise in object.__getattribute__(self, "exercises"):
            if exercise.name == name:
                return Check(exercise)
        known = ", ".join(e.name for e in object.__getattribute__(self, "exercises"))
        raise AttributeError(f"no exercise is called {name!r} in this lab; there are {known}")


def find_lab(name: str) -> Lab:
    """The lab of this name; no other is imported.

    Raises:
        ValueError: if there is none.
    """
    if name not in _MODULES:
        raise ValueError(f"no lab is called {name!r}; there are {', '.join(_MODULES)}")
    check: Lab = importlib.import_module(f"{__package__}.{_MODULES[name]}").check
    return check


def labs() -> tuple[Lab, ...]:
    """All labs, in order."""
    return tuple(map(find_lab, _MODULES))
