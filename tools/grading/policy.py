"""When a lab is due, who has longer, what being late costs, and which attempt counts: set in nbgrader_config.py."""

import logging
import math
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nbformat.v4 import new_notebook
from nbgrader.api import Gradebook
from nbgrader.plugins import LateSubmissionPlugin
from nbgrader.preprocessors import AssignLatePenalties
from nbgrader.utils import parse_utc
from traitlets import Dict, Enum, Float
from traitlets.config import Config, ConfigFileNotFound, PyFileConfigLoader

CONFIG = "nbgrader_config.py"
DAY = 24 * 60 * 60
QUIET = logging.getLogger("quiet")  # nbgrader warns of everybody who is late
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


class Policy(LateSubmissionPlugin):  # type: ignore[misc]  # nbgrader has no types
    """The rules of the course. nbgrader's own ``autograde`` takes it as ``AssignLatePenalties.plugin_class``, too."""

    due = Dict(help="by lab: when it is due, such as '2027-02-04 23:59 Europe/Berlin'; UTC unless told").tag(
        config=True
    )
    extensions = Dict(help="by lab: by student's id, when it is due for them").tag(config=True)
    per_day = Float(0.0, min=0.0, max=1.0, help="the part of the marks that each day begun costs").tag(config=True)
    most = Float(1.0, min=0.0, max=1.0, help="the largest part that being late can cost").tag(config=True)
    attempts = Enum(("last", "best"), "last", help="which attempt counts").tag(config=True)

    def late_submission_penalty(
        self,
        student_id: str,  # noqa: ARG002  (nbgrader names it)
        score: float,
        total_seconds_late: float,
    ) -> float:
        """As nbgrader asks for it: the points that are lost, of the ``score`` points that the work is worth."""
        return float(score * min(self.most, self.per_day * math.ceil(total_seconds_late / DAY)))


class Rules:
    """The policy of one course for one lab, and the plugin that computes penalties."""

    def __init__(self, lab: str, root: Path) -> None:
        """Read the course's configuration.

        Raises:
            ValueError: if it cannot be read, or says what no policy can say.
        """
        self.lab = lab
        config = _configuration(root)
        unknown = sorted(set(config.get("Policy", {})) - set(Policy.class_trait_names(config=True)))
        if unknown:
            known = ", ".join(Policy.class_trait_names(config=True))
            raise ValueError(f"{CONFIG}: c.Policy has no {', '.join(unknown)}; it has {known}")
        try:
            self._policy = Policy(config=config)
            self._penalties = AssignLatePenalties(config=config, log=QUIET)
            if "plugin_class" not in config.get("AssignLatePenalties", {}):
                self._penalties.plugin_class = Policy
            self._penalties.init_plugin()
            self.due = _instant(self._policy.due[lab]) if lab in self._policy.due else None
            longer = self._policy.extensions.get(lab, {})
            self.extensions = {student: _instant(until) for student, until in longer.items()}
        except Exception as error:  # the traits say what is wrong, and a plugin may be anybody's
            raise ValueError(f"{CONFIG}: {error}") from error
        self._configured = self.due is not None
        if self.extensions and not self._configured:
            raise ValueError(f"{CONFIG}: c.Policy.extensions has {lab}, and c.Policy.due has not")

    @property
    def best_counts(self) -> bool:
        """Whether the best attempt counts, and not the last."""
        return bool(self._policy.attempts == "best")

    @property
    def of_the_best(self) -> str:
        """All that decides which attempt is the best; nothing if the last counts, for then nothing is decided."""
        return repr([self.due, self.extensions, self._policy.per_day, self._policy.most]) if self.best_counts else ""

    def penalty(self, student: str, score: float, when: datetime | None) -> float:
        """The points that ``score`` points handed in at ``when``, in UTC, lose."""
        due = self.extensions.get(student, self.due)
        if due is None or when is None or when <= due:
            return 0.0
        lost = self._penalties.plugin_inst.late_submission_penalty(student, score, (when - due).total_seconds())
        return min(max(lost or 0.0, 0.0), score)

    def agree(self, book: Gradebook) -> None:
        """When the lab is due, the configuration says; where it says nothing, nbgrader's gradebook may."""
        if self._configured:
            book.update_or_create_assignment(self.lab, duedate=self.due)
        else:
            self.due = book.find_assignment(self.lab).duedate

    def submission(self, student: str, when: datetime | None) -> dict[str, Any]:
        """What nbgrader's gradebook keeps of one learner's submission: its time, and the extension."""
        known: dict[str, Any] = {"timestamp": when}
        if self._configured and self.due is not None:
            longer = self.extensions.get(student)
            known["extension"] = longer - self.due if longer else None
        return known

    def enter_penalties(self, book: Gradebook, students: list[str]) -> None:
        """Have nbgrader compute what being late costs each student, of the marks that the gradebook now has."""
        resources = {"notebook": self.lab, "assignment": self.lab, "db_url": book.engine.url}
        for student in students:
            submission = book.find_submission(self.lab, student)
            if submission.total_seconds_late or submission.late_submission_penalty:
                self._penalties.preprocess(new_notebook(), {"nbgrader": resources | {"student": student}})
        book.db.commit()


def handed_in_at(folder: Path) -> datetime | None:
    """When the submission in ``folder`` was made, in UTC, by the ``timestamp.txt`` beside it; None if none says so."""
    file = folder / "timestamp.txt"
    if file.is_symlink() or not file.is_file():
        return None
    try:
        with file.open("rb") as opened:
            return _instant(opened.read(100).decode(errors="replace").strip())
    except (ValueError, OSError):
        return None


def _instant(text: str) -> datetime:
    """A time as nbgrader reads it, in UTC and without a zone."""
    words = str(text).split(" ")
    try:
        if len(words) == 3 and not words[2].lstrip("+-").isdigit():
            ZoneInfo(words[2])  # nbgrader takes the time of a zone that it does not know for UTC
        instant = parse_utc(str(text))
    except (ValueError, OverflowError, ZoneInfoNotFoundError, OSError):
        instant = None
    if instant is None:
        raise ValueError(f"{str(text)[:60]!a} is no time; write one as '2027-02-04 23:59 Europe/Berlin'")
    return instant


def _configuration(root: Path) -> Config:
    try:
        return PyFileConfigLoader(CONFIG, path=str(root)).load_config()
    except ConfigFileNotFound:
        return Config()
    except Exception as error:  # it is a program, which may fail in any way
        raise ValueError(f"{root / CONFIG} cannot be read: {type(error).__name__}: {error}") from error
