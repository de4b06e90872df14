"""The step of a training goes through the states that are drawn, and the folder stands as its README says."""

import ast
import re
from pathlib import Path

import pytest

import gradclinic.recording
from gradclinic.recording.step import State, Step

FOLDER = Path(gradclinic.recording.__file__).parent
README = (FOLDER / "README.md").read_text()
LONGEST = 6


class Driven:
    """A step with a training that may do anything, and what it does in the README's words."""

    def __init__(self):
        self.step, self.at_work = Step(), None
        self.took_part: set[int] = set()  # kept apart from what the step itself keeps

    def events(self) -> dict:
        if self.at_work is not None:
            return {"forward pass": self.step.forward_pass, "optimiser ends": self._end}
        found = {"forward pass": self.step.forward_pass, "capture": self._capture}
        for optimizer in (1, 2):
            begins = "optimiser begins"
            if self.step.state is State.STEPPED:
                begins = ("same " if optimizer in self.took_part else "another ") + begins
            found[f"{begins} {optimizer}"] = lambda optimizer=optimizer: self._begin(optimizer, False)
            found[f"scaler skips {optimizer}"] = lambda optimizer=optimizer: self._begin(optimizer, True)
        return found

    def _begin(self, optimizer: int, left_out: bool) -> None:
        self.at_work = optimizer
        self.step.begins(optimizer, left_out)

    def _end(self) -> None:
        counted = self.step.number
        was = self.step.ends(self.at_work)
        if self.step.number > counted:
            self.took_part = set()
        if was is not State.SKIPPING:
            self.took_part.add(self.at_work)
        self.at_work = None

    def _capture(self) -> None:
        self.step.captured()
        self.took_part = set()


def seen() -> set[tuple[str, str, str]]:
    """Every (state, event, next state) that some training of a few events comes to."""
    found, trainings = set(), [()]
    for _ in range(LONGEST):
        longer = []
        for events in trainings:
            driven = Driven()
            for event in events:
                driven.events()[event]()
            for event in driven.events():
                other = Driven()
                for earlier in events:
                    other.events()[earlier]()
                before = other.step.state
                other.events()[event]()
                found.add((before.value, event.rstrip(" 12"), other.step.state.value))
                longer.append((*events, event))
        trainings = longer
    return found


def drawn() -> set[tuple[str, str, str]]:
    diagram = re.search(r"```mermaid\n(.*?)```", README, re.DOTALL).group(1)
    return {(a, event, b) for a, b, event in re.findall(r"(\w+) --> (\w+) : (.+)", diagram)}


def test_the_drawn_states_are_those_of_the_code():
    assert {state for a, _, b in drawn() for state in (a, b)} == {state.value for state in State}


def test_the_drawn_arrows_are_what_the_code_does():
    assert drawn() == seen()


def counted(*events: str) -> int:
    """Steps after some events: "pass", "capture", "A" for a whole step of optimiser A, "A(" and ")A" for its parts."""
    step = Step()
    for event in events:
        if event == "pass":
            step.forward_pass()
        elif event == "capture":
            step.captured()
        elif event.endswith("!"):
            step.begins(ord(event[0]), left_out=True)
            step.ends(ord(event[0]))
        elif event.endswith("("):
            step.begins(ord(event[0]))
        elif event.startswith(")"):
            step.ends(ord(event[1]))
        else:
            step.begins(ord(event))
            step.ends(ord(event))
    return step.number


@pytest.mark.parametrize(
    ("events", "steps"),
    [
        ("pass A pass A", 2),
        ("pass pass A", 1),  # accumulation
        ("pass A B", 1),  # two optimisers, one pass
        ("pass A pass B", 2),
        ("A A A", 3),  # a model of which only parts are called
        ("A B A B", 2),
        ("pass A! pass A", 1),  # a scaler leaves the first out
        ("pass A B! C", 1),  # and here one of three
        ("pass A! B", 1),
        ("pass A B( pass )B", 2),  # a closure that runs a pass has a step of its own
        ("pass A B( )B", 1),  # one that runs none joins
        ("pass A( pass pass )A", 1),
        ("pass A( B( )B )A pass A( B( )B )A", 2),  # an optimiser around another
        ("pass A( A( )A )A pass A( A( )A )A", 2),  # one that calls the step of the class it derives from
        ("A( A( )A )A A( A( )A )A", 2),
        ("pass A( A( pass )A )A", 1),
        ("pass A( pass A", 1),  # the first one failed within its step
        ("pass A B( B", 1),  # so did an optimiser that was joining
        ("pass capture pass capture", 2),
        ("pass capture A", 2),  # none joins a captured step
        (")A", 1),  # the block was entered while the optimiser was at work
    ],
)
def test_a_training_has_the_steps_that_it_has(events, steps):
    assert counted(*events.split()) == steps


@pytest.mark.parametrize(
    ("events", "told_for"),
    [
        ("", 1),
        ("pass", 1),
        ("pass A", 1),  # told when the step is done
        ("pass A pass", 2),
        ("pass A B", 1),
        ("pass capture", 1),
        ("A", 2),  # no pass is ever seen, so it cannot be told; the usual place is before the step
    ],
)
def test_a_loss_belongs_to_the_coming_step_or_to_the_one_just_done(events, told_for):
    step = Step()
    for event in events.split():
        if event == "pass":
            step.forward_pass()
        elif event == "capture":
            step.captured()
        else:
            step.begins(ord(event))
            step.ends(ord(event))
    assert step.of_a_loss() == told_for


def test_a_module_of_the_folder_imports_only_from_lines_above_its_own():
    lines = re.findall(r"^\d+\. (.+)$", README, re.MULTILINE)
    row = {name: number for number, line in enumerate(lines) for name in re.findall(r"`(\w+)`", line)}
    files = {path.stem: path for path in FOLDER.glob("*.py") if path.stem != "__init__"}
    assert set(row) == set(files), "every module has its place in the README"
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gradclinic.recording."):
                other = node.module.split(".")[2]
                assert row[other] < row[name], f"{name} imports {other}, which does not stand above it"
