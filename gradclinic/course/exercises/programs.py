"""Networks nobody prepared, and steps of their training: what the instruments of lab 11 are tried on."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gradclinic.course.exercises.draws import new_seed, over_decades, seeded, shuffled, uniform, whole
from gradclinic.course.exercises.exercise import Case
from gradclinic.course.models import ConvNet, Transformer

# --- networks --------------------------------------------------------------------------------------------------------


class Wired(nn.Module):
    """Layers called in an order of their own, some several times, some not at all; activations are functions.

    Args:
        layers: linear, as many inputs as outputs.
        order: the number of the layer that is called next.
        unseen: of these only the weights are used; the layer itself is not called.
    """

    def __init__(self, layers: Sequence[nn.Linear], order: Sequence[int], unseen: Sequence[int]) -> None:
        super().__init__()
        self.layers, self.order, self.unseen = nn.ModuleList(layers), list(order), set(unseen)

    def forward(self, x: Tensor) -> Tensor:
        for number in self.order:
            layer = self.layers[number]
            assert isinstance(layer, nn.Linear)
            x = torch.tanh(x @ layer.weight.T + layer.bias if number in self.unseen else layer(x))
        return x


class Shrunk(nn.Module):
    """One convolution that is called on an image, and again on the same image at half its size, and so on."""

    def __init__(self, channels: int, calls: int) -> None:
        super().__init__()
        self.calls, self.layer = calls, nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.calls):
            x = nn.functional.avg_pool2d(2 * torch.relu(self.layer(x)), 2)
        return x


class Weighed(nn.Module):
    """A branch with a parameter of its own, which has to wait for the layers in it: input + scale * branch(input)."""

    def __init__(self, branch: nn.Module, width: int, scale: float) -> None:
        super().__init__()
        self.scale, self.branch = nn.Parameter(torch.full((width,), scale)), branch

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = x + self.scale * self.branch(x)
        return answer


class Told(nn.Module):
    """A layer that answers with a tuple: torch's own attention, whose projection is not called, or a GRU."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.layer, nn.MultiheadAttention):
            answer: Tensor = self.layer(x, x, x)[0]
        else:
            answer = self.layer(x)[0]
        return answer


def _linear(generator: torch.Generator, inputs: int, outputs: int, gain: float = 1.0) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        layer.weight.normal_(0, gain * inputs**-0.5, generator=generator)
        layer.bias.normal_(0, 0.3, generator=generator)
    return layer


def wired(generator: torch.Generator) -> nn.Sequential:
    """Defined in one order and called in another: one layer thrice, one by its weights alone, one not at all."""
    layers, width = whole(generator, 5, 7), whole(generator, 4, 9)
    order = shuffled(generator, range(layers))[:-1]
    while order == sorted(order):  # that would be the order in which they are defined
        order = shuffled(generator, range(layers))[:-1]
    again = order[whole(generator, 1, 2)]
    made = [_linear(generator, width, width, uniform(generator, 0.6, 1.6)) for _ in range(layers)]
    return nn.Sequential(Wired(made, [again, *order, again], [order[-1]]))


def rectified(generator: torch.Generator, channels: int, layers: int) -> nn.Sequential:
    """Convolutions whose ReLUs write into what they are given."""
    modules: list[nn.Module] = []
    for _ in range(layers):
        layer = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            layer.weight.normal_(0, (2 / 9 / channels) ** 0.5, generator=generator)
        nn.init.zeros_(layer.get_parameter("bias"))
        modules += [layer, nn.ReLU(inplace=True)]
    return nn.Sequential(*modules)


def pairs(generator: torch.Generator) -> list[tuple[nn.Sequential, Tensor]]:
    """A network each, and what it takes: of every kind that an instrument has to cope with."""
    with torch.random.fork_rng(devices=[]):  # torch's layers draw their own weights
        torch.manual_seed(new_seed(generator))
        return shuffled(generator, _pairs(generator))


def _pairs(generator: torch.Generator) -> list[tuple[nn.Sequential, Tensor]]:
    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * uniform(generator, 0.5, 2)

    network = wired(generator)
    (inner,) = network
    assert isinstance(inner, Wired)
    channels, width = whole(generator, 2, 5), 4 * whole(generator, 1, 3)
    branch = nn.Sequential(_linear(generator, width, 9, 2.0), nn.Tanh(), _linear(generator, 9, width, 2.0))
    told = nn.Sequential(
        _linear(generator, 6, width),
        Told(nn.MultiheadAttention(width, 2, batch_first=True)),
        nn.LayerNorm(width),
        Told(nn.GRU(width, 5, batch_first=True)),
    )
    norm = ("pre", "post")[whole(generator, 0, 1)]
    return [
        (network, drawn(whole(generator, 1, 6), inner.layers[0].get_parameter("weight").shape[1])),
        (
            nn.Sequential(Shrunk(channels, whole(generator, 2, 3)), nn.Flatten()),
            drawn(whole(generator, 2, 4), channels, 8, 8),
        ),
        (
            nn.Sequential(Weighed(branch, width, uniform(generator, 0.3, 2)), _linear(generator, width, 3)),
            drawn(5, width),
        ),
        (told, drawn(whole(generator, 2, 5), whole(generator, 3, 6), 6)),
        (rectified(generator, channels, whole(generator, 2, 4)), drawn(whole(generator, 1, 3), channels, 5, 5)),
        (
            nn.Sequential(ConvNet(whole(generator, 2, 3), 4, "tanh", seed=new_seed(generator))),
            drawn(whole(generator, 2, 5), 64),
        ),
        (
            nn.Sequential(Transformer(1, 8, 2, 12, norm=norm, seed=new_seed(generator))),
            drawn(whole(generator, 2, 4), 64),
        ),
        (nn.Sequential(_linear(generator, 3, 1)), drawn(1, 3)),
    ]


# --- steps of a training ---------------------------------------------------------------------------------------------


class Pass:
    """Called with a model, it goes through it once, forward and backward, and changes its weights: another's program.

    Args:
        x: what the model is given.
        target: the loss is ``factor`` times the mean of the squared differences from it.
        step: by what part of its length each parameter moves, against its gradient.
        clears: whether it forgets the gradients of the pass before.
        looks: whether it first looks at other inputs, without gradients.
    """

    def __init__(self, x: Tensor, target: Tensor, factor: float, step: float, clears: bool, looks: bool) -> None:
        self.x, self.target, self.factor, self.step, self.clears, self.looks = x, target, factor, step, clears, looks

    def __call__(self, model: nn.Module) -> None:
        if self.looks:
            with torch.no_grad():
                model(self.x.flip(0) / 2)
        if self.clears:
            model.zero_grad()
        (self.factor * (model(self.x) - self.target).square().mean()).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None and parameter.requires_grad:
                    length = parameter.grad.double().norm().clamp_min(1e-300)
                    moved = self.step * (parameter.double().norm() + 0.1) * parameter.grad.double() / length
                    parameter.sub_(moved.to(parameter.dtype))


def passes(generator: torch.Generator, model: nn.Module, x: Tensor, factor: float = 1.0) -> list[Pass]:
    """Three or four. One of them does not clear what the one before has left, and one looks at other inputs as well."""
    with torch.no_grad():
        shape = model(x).shape
    number = whole(generator, 3, 4)
    keeps, looks = whole(generator, 1, number - 2), whole(generator, 0, number - 1)
    return [
        Pass(
            x * torch.randn(x.shape, generator=generator),
            torch.randn(shape, generator=generator),
            factor * uniform(generator, 0.5, 3),
            uniform(generator, 0.1, 0.3),
            clears=place != keeps,
            looks=place == looks,
        )
        for place in range(number)
    ]


class Step:
    """Called with a model, it makes one step of an optimiser, from a fresh gradient: another's program.

    Args:
        x, target: as for ``Pass``.
        rate: the learning rate.
        kind: 0 for gradient descent, 1 for Adam, 2 for gradient descent with weight decay.
    """

    def __init__(self, x: Tensor, target: Tensor, rate: float, kind: int) -> None:
        self.x, self.target, self.rate, self.kind = x, target, rate, kind

    def __call__(self, model: nn.Module) -> None:
        model.zero_grad()
        (model(self.x) - self.target).square().mean().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                gradient = parameter.grad
                if gradient is None:
                    continue
                if self.kind == 1:  # what is left of Adam in its first step
                    gradient = gradient / (gradient.abs() + 1e-8)
                parameter.sub_(self.rate * (gradient + parameter / 2 if self.kind == 2 else gradient))


# --- the tries --------------------------------------------------------------------------------------------------------


def given(seed: int) -> list[Case]:
    generator = seeded(seed)
    found = pairs(generator)
    for size in (1e22, 1e-25):  # finite, and not 0; their squares are neither
        x = torch.randn(2, 3, 4, 4, generator=generator)
        found.append((rectified(generator, 3, whole(generator, 1, 3)), size * x))
    return list(shuffled(generator, found))


def trained(seed: int) -> list[Case]:
    """Networks, the passes of another's program, and which of them to watch: the first, the last, one between."""
    generator = seeded(seed)
    found = []
    for place, (model, x) in enumerate(pairs(generator)):
        steps = passes(generator, model, x)
        watched = (1, len(steps))[place] if place < 2 else whole(generator, 1, len(steps))
        found.append((model, steps, watched))
    for factor, watched in ((1e22, 1), (1e-25, 2)):
        model, x = rectified(generator, 3, 3), torch.randn(2, 3, 4, 4, generator=generator)
        if watched == 2:  # no gradient comes back to a layer below which nothing is trained
            model[0].requires_grad_(False)
        found.append((model, passes(generator, model, x, factor), watched))
    return list(shuffled(generator, found))


def stepped(seed: int) -> list[Case]:
    """Networks, and one step of an optimiser: of every kind. A frozen layer, one of zeros, and weights of odd sizes."""
    generator = seeded(seed)
    found: list[tuple[nn.Sequential, Step]] = []

    def add(model: nn.Sequential, x: Tensor, rate: float, kind: int) -> None:
        with torch.no_grad():
            shape = model(x).shape
        found.append((model, Step(x, torch.randn(shape, generator=generator), rate, kind)))

    for place, (model, x) in enumerate(pairs(generator)):
        add(model, x, over_decades(generator, 0.01, 0.3), (place + seed) % 3)
    for kind in range(3):
        model, x = rectified(generator, 3, 3), torch.randn(4, 3, 4, 4, generator=generator)
        model[2 * whole(generator, 0, 1)].requires_grad_(False)
        for parameter in model[4].parameters():
            parameter.data.zero_()
        add(nn.Sequential(*list(model)[:5]), x, over_decades(generator, 0.01, 0.1), kind)
    zeros = _linear(generator, 3, 4)
    for parameter in zeros.parameters():
        parameter.data.zero_()
        parameter.requires_grad_(False)  # so it stays as it is
    add(
        nn.Sequential(zeros, _linear(generator, 4, 2)),
        torch.randn(5, 3, generator=generator),
        uniform(generator, 0.1, 0.5),
        0,
    )
    for size, rate in ((1e22, 1e21), (1e-25, 1e-26)):
        odd = nn.Linear(4, 3, bias=False)
        odd.weight.data = size * torch.randn(3, 4, generator=generator)
        x = torch.randn(6, 4, generator=generator) / max(size, 1)
        add(nn.Sequential(odd), x, rate * uniform(generator, 1, 3), 1)
    return list(shuffled(generator, found))


def rows(seed: int) -> list[Case]:
    """Norms in the order of the calls, and a share: chains that lose it, branches that others go round, and neither."""
    generator = seeded(seed)

    def chain(layers: int, *lost: tuple[int, float], low: float = 0.4, high: float = 2.5) -> Tensor:
        """Each layer has so many times the norm of the next one; and those of ``lost``, numbers from 1, their own."""
        own, norms = dict(lost), [over_decades(generator, 0.01, 100)]
        for number in range(layers - 1, 0, -1):
            norms.insert(0, norms[0] * own.get(number, over_decades(generator, low, high)))
        return torch.tensor(norms, dtype=torch.float64)

    def dipped(norms: Tensor, number: int, by: float) -> Tensor:
        """One layer is off the way that the gradient takes."""
        norms = norms.clone()
        norms[number - 1] *= by
        return norms

    def share() -> float:
        return over_decades(generator, 0.005, 0.2)

    cases: list[tuple[Tensor, float]] = []
    for by in (1e-4, 0.0):
        layers = whole(generator, 6, 12)
        numbers = (1, whole(generator, 3, layers - 3), layers - 1)
        cases += [(chain(layers, (number, by)), share()) for number in numbers]  # all before it starve, too
        cases.append((dipped(chain(layers), whole(generator, 4, layers - 2), by), share()))  # others go round
    layers = whole(generator, 8, 12)
    cases += [
        (chain(layers, (2, 1e-6), (layers - 3, 1e-3)), share()),  # the nearest to the output, not the worst
        (dipped(chain(layers, (2, 1e-5)), layers - 2, 1e-3), share()),  # one by itself, and a break far below it
        (dipped(chain(layers, (layers - 2, 1e-5)), 3, 1e4), share()),  # one of those before it is reached
        (chain(layers, low=0.35, high=0.6), 0.3),  # it fades: by a little everywhere, by much in all
        (chain(layers), share()),
        (torch.zeros(layers, dtype=torch.float64), share()),  # nothing is lost of nothing
        (chain(layers) * torch.tensor([*[1.0] * (layers - 2), 0, 0], dtype=torch.float64), share()),
        (chain(1), share()),
        (chain(2, (1, 1e-4)), share()),
        (1e-30 * chain(layers, (4, 1e-5)), share()),
    ]
    for above in (0.5, 2):  # twice the share is enough, and half of it is not
        layers, limit = whole(generator, 7, 12), over_decades(generator, 0.005, 0.04)
        cases.append((chain(layers, (whole(generator, 2, layers - 2), above * limit)), limit))
        some = chain(layers, (layers - 2, limit / 3))
        some[: layers - 3] = some[layers - 2] * limit * torch.tensor([above, *[1 / above] * (layers - 4)])
        cases.append((some, limit))
    # on the limit itself: as much as the share is no loss, and counts as reached
    exact = torch.tensor([2.0, 8.0, 4.0, 1.0, 8.0, 32.0], dtype=torch.float64) * 2.0 ** whole(generator, -9, 9)
    cases += [(exact, 0.25), (exact * torch.tensor([1, 1, 1, 0.5, 1, 1], dtype=torch.float64), 0.25)]
    return list(shuffled(generator, cases))
