"""The step of a training, as it passes by: README.md draws the states and what moves them."""

from enum import Enum


class State(Enum):
    """Where a step stands."""

    FRESH = "fresh"  # nothing has happened since the block began, or since capture()
    PASSED = "passed"  # a forward pass has begun since the last step
    STEPPING = "stepping"  # an optimiser is at work in a step of its own
    JOINING = "joining"  # an optimiser is at work that moves other weights, by gradients of the same pass
    SKIPPING = "skipping"  # an optimiser is at work, and a loss scaler has it change nothing
    STEPPED = "stepped"  # the step is counted; other optimisers may join it


AT_WORK = (State.STEPPING, State.JOINING, State.SKIPPING)


class Step:
    """Counts steps. It holds no number that was measured, and looks at no tensor.

    Attributes:
        number: steps counted so far.
        state: where the coming one stands.
        passes_seen: whether a forward pass was ever seen. It is not if only parts of the model are called.
    """

    def __init__(self) -> None:
        self.number = 0
        self.state = State.FRESH
        self.passes_seen = False
        self._before = State.FRESH  # the state in which the optimiser at work began
        self._members: set[int] = set()  # optimisers that have taken part in the step
        self._begun = False  # whether any has begun since the block did

    def forward_pass(self) -> None:
        """The model's forward pass begins, with gradients on. Inside an optimiser's step it is one of a closure."""
        self.passes_seen = True
        if self.state in AT_WORK:
            self._before = State.PASSED
        if self.state in (State.STEPPING, State.JOINING):
            self.state = State.STEPPING
        elif self.state is not State.SKIPPING:
            self.state = State.PASSED

    def begins(self, optimizer: int, left_out: bool = False) -> None:
        """An optimiser's step begins. ``left_out`` if a loss scaler has it change nothing."""
        if self.state in AT_WORK:  # the one at work failed, or it calls another one, or the method of its parent
            self.state = self._before
        self._before, self._begun = self.state, True
        if left_out:
            self.state = State.SKIPPING
        elif self.state is State.STEPPED and optimizer not in self._members:
            self.state = State.JOINING
        else:
            self.state = State.STEPPING

    def ends(self, optimizer: int) -> State:
        """An optimiser's step ends. Returns the state in which it was at work."""
        if self.state not in AT_WORK and self._begun:  # the one that it called has ended this step already
            if self.state is State.STEPPED:
                self._members.add(optimizer)
            return State.JOINING
        if self.state not in AT_WORK:  # it began before the block
            self.begins(optimizer)
        was = self.state
        if was is State.SKIPPING:
            self.state = self._before
            return was
        if was is State.STEPPING:
            self.number += 1
            self._members.clear()
        self._members.add(optimizer)
        self.state = State.STEPPED
        return was

    def captured(self) -> None:
        """A step without an optimiser. No optimiser can join it."""
        self.number += 1
        self.fresh()

    def fresh(self) -> None:
        """A block begins: what comes is no part of an earlier step."""
        self.state = State.FRESH
        self._members.clear()
        self._begun = False

    def of_a_loss(self) -> int:
        """The step that a loss told now belongs to: the one done, if no forward pass has begun since, else the next."""
        over = self.passes_seen and self.number > 0 and self.state in (State.FRESH, State.STEPPED)
        return self.number if over else self.number + 1
