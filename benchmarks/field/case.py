"""What a case of the field is: a run as somebody reported it, rebuilt small, in variants that a change tells apart.

Each is one function that trains for a few seconds and returns a score. It is told its variant:

``faulty``  as it was reported; its score must lie below ``passes``
``sham``    changed in a way that should not mend it, and does not
``fixed``   with the one change that the cause asks for; it must reach ``passes``

What works has one variant, ``fixed``. Nobody who writes a case looks at the rules of ``gradclinic.diagnose``.
"""

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn import functional

HEALTHY = "healthy"
VARIANTS = ("faulty", "sham", "fixed")


@dataclass
class Setup:
    """How a case is run: whether it is watched, and which remedy is tried on it.

    Attributes:
        watcher: makes a recorder of (model, chance_loss or None, loss_falls); None for a run that nobody watches.
        remedy: name of a general remedy that is applied, if one is.
        lr_times: factor on every learning rate.
        seed: of the weights and the batches.
    """

    watcher: Callable[..., contextlib.AbstractContextManager] | None = None
    remedy: str | None = None
    lr_times: float = 1.0
    seed: int = 0
    recorders: list = field(default_factory=list)

    def watch(self, model: nn.Module, chance: float | None = None, loss_falls: bool = True):
        """A recorder of the model, to be used in a with-block; it has ``log_loss``.

        ``chance`` is the loss of the best answer that ignores the input, where there is one. ``loss_falls`` is False
        for the losses of a policy, a generator or a critic.
        """
        if self.watcher is None:
            return Nobody()
        self.recorders.append(self.watcher(model, chance, loss_falls))
        return self.recorders[-1]

    def lr(self, value: float) -> float:
        """The learning rate to use where the case has ``value``."""
        return value * self.lr_times

    def model(self, model: nn.Module) -> nn.Module:
        """The model to use where the case has this one: called right after it was made."""
        if self.remedy == "initialization":
            start_anew(model)
        elif self.remedy == "normalization":
            normalise(model)
        elif self.remedy == "leaky":
            swap(model, (nn.ReLU, nn.ReLU6), lambda: nn.LeakyReLU(0.1))
        elif self.remedy == "relu":
            swap(model, (nn.Sigmoid,), nn.ReLU)
            start_anew(model)
        return model

    def clip(self, model: nn.Module) -> None:
        """To be called between ``backward`` and ``step``."""
        if self.remedy == "clipping":
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)


class Nobody:
    """Watches nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def log_loss(self, loss) -> None:
        pass


@dataclass(frozen=True)
class Case:
    """One run of the field.

    Attributes:
        name: of its function, with that of its module before it.
        kind: what is true of it, as ``diagnose`` names kinds; "healthy" for what works.
        also: other kinds that would be right, too.
        style: "modules" or "functions", as its activations are written.
        source: where such a run was reported.
        fault, cause: what was done, and what that does; of what works, what it is and why it looks suspicious.
        passes: the score from which it works.
        run: function of (setup, variant) that returns the score.
    """

    name: str
    kind: str
    also: tuple[str, ...]
    style: str
    source: str
    fault: str
    cause: str
    passes: float
    run: Callable[[Setup, str], float]

    @property
    def program(self) -> str:
        return self.name.partition(".")[0]

    @property
    def variants(self) -> tuple[str, ...]:
        return VARIANTS if self.kind != HEALTHY else ("fixed",)


CASES: dict[str, Case] = {}


def broken(kind: str, *, source: str, fault: str, cause: str, passes: float, style: str, also: tuple[str, ...] = ()):
    """Decorator for a run that fails."""

    def enter(run: Callable[[Setup, str], float]) -> Callable[[Setup, str], float]:
        name = f"{run.__module__.rpartition('.')[2]}.{run.__name__}"
        CASES[name] = Case(name, kind, also, style, source, fault, cause, passes, run)
        return run

    return enter


def works(*, source: str, what: str, suspicious: str, passes: float, style: str):
    """Decorator for a run that works, and that a careless rule might alarm on."""
    return broken(HEALTHY, source=source, fault=what, cause=suspicious, passes=passes, style=style)


def trained(case: Case, variant: str, setup: Setup) -> float:
    """The score of one run; NaN counts as failed."""
    torch.manual_seed(setup.seed)
    np.random.seed(setup.seed)
    random.seed(setup.seed)
    with functions_as(setup.remedy):
        score = float(case.run(setup, variant))
    return score if score == score else -float("inf")


# --- what cases share ------------------------------------------------------------------------------------------------


def batches(examples: int, size: int, steps: int, seed: int = 0) -> Iterator[torch.Tensor]:
    """Indices of ``steps`` random batches."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        yield torch.randint(examples, (size,), generator=generator)


def accuracy(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of rows whose largest score is that of their label; 0 if anything is not finite."""
    return (scores.argmax(-1) == labels).float().mean().item() if torch.isfinite(scores).all() else 0.0


def explained(answers: torch.Tensor, targets: torch.Tensor) -> float:
    """Share of the targets' variance that the answers explain (R squared)."""
    if not torch.isfinite(answers).all():
        return -float("inf")
    return 1 - ((answers - targets) ** 2).mean().item() / targets.var(correction=0).item()


# --- general remedies, as a person would apply them ------------------------------------------------------------------


def start_anew(model: nn.Module) -> None:
    """Weights of the critical scale for ReLU, orthogonal recurrent ones, biases 0."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
            for name, parameter in module.named_parameters():
                if "weight_hh" in name:
                    for block in parameter.data.split(module.hidden_size):
                        nn.init.orthogonal_(block)
                elif "weight_ih" in name:
                    nn.init.xavier_normal_(parameter)
                else:
                    nn.init.zeros_(parameter)


def normalise(model: nn.Module) -> None:
    """A normalisation behind each layer but the last."""
    inside = {id(m.out_proj) for m in model.modules() if isinstance(m, nn.MultiheadAttention)}  # it reads its weights
    layers = [
        (name, m) for name, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d)) and id(m) not in inside
    ]
    for name, module in layers[:-1]:
        owner, _, last = name.rpartition(".")
        linear = isinstance(module, nn.Linear)
        norm = nn.LayerNorm(module.out_features) if linear else nn.GroupNorm(1, module.out_channels)
        setattr(model.get_submodule(owner), last, nn.Sequential(module, norm))


def swap(model: nn.Module, kinds: tuple[type[nn.Module], ...], new: Callable[[], nn.Module]) -> None:
    """Replace modules of these kinds, wherever they are."""
    for name, child in list(model.named_children()):
        if isinstance(child, kinds):
            setattr(model, name, new())
        else:
            swap(child, kinds, new)


@contextlib.contextmanager
def functions_as(remedy: str | None) -> Iterator[None]:
    """The same for activations that are called as functions."""
    kept = functional.relu, torch.relu, torch.Tensor.relu
    if remedy == "leaky":

        def leaky(x: torch.Tensor, **_: bool) -> torch.Tensor:
            return functional.leaky_relu(x, 0.1)

        functional.relu = torch.relu = torch.Tensor.relu = leaky
    try:
        yield
    finally:
        functional.relu, torch.relu, torch.Tensor.relu = kept
