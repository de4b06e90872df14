"""The networks of the course. Layers are numbered from the input, 1 to depth; the read-out comes after them."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gradlab.initializers import Initializer, initialize
from gradlab.theory import Activation, activation_function

# torch's own modules, not the formulas of ``theory``: what is measured must not rest on what predicts it.
_MODULES: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class Elementwise(nn.Module):
    """Any element-wise callable as a module.

    Raises:
        TypeError: for something that cannot be called.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]):
        if not callable(function):
            raise TypeError(f"function must be a callable, got {function!r}")
        super().__init__()
        self.function = function

    def forward(self, z: Tensor) -> Tensor:
        return self.function(z)


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Draw from ``seed`` inside, and leave torch's global generator as it was; with None, just use that generator."""
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise TypeError(f"seed must be an integer or None, got {seed!r}")
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        yield


def _at_least_one(**sizes: int) -> None:
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an integer, got {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


class MLP(nn.Sequential):
    """A plain deep network: ``depth`` hidden layers of ``width`` units, then a linear read-out.

    Its modules are named ``layer1``, ``activation1``, ..., ``layerL``, ``activationL``, ``readout``.

    Args:
        depth: number of hidden layers L, at least 1.
        width: units per hidden layer, at least 1.
        activation: a name of ``theory.ACTIVATIONS`` or an element-wise callable.
        init: a name of ``initializers.INITIALIZERS`` or sigma_w as a number; used for every layer and the read-out.
        in_features, out_features: 64 pixels and 10 classes unless told, as in ``data.digits``.
        seed: of the starting weights; with None they come from torch's global generator.
    Raises:
        ValueError: for a size below 1, an unknown activation or initialiser, a negative weight scale.
        TypeError: for a size or seed that is not an integer, or an activation that is neither a name nor a callable.
    """

    def __init__(
        self,
        depth: int,
        width: int = 64,
        activation: Activation = "tanh",
        init: Initializer = "pytorch",
        *,
        in_features: int = 64,
        out_features: int = 10,
        seed: int | None = None,
    ):
        _at_least_one(depth=depth, width=width, in_features=in_features, out_features=out_features)
        function = activation_function(activation)  # refuses an unknown one
        modules: OrderedDict[str, nn.Module] = OrderedDict()
        with _seeded(seed):
            for number in range(1, depth + 1):
                fan_in = in_features if number == 1 else width
                modules[f"layer{number}"] = initialize(nn.Linear(fan_in, width), init)
                module = _MODULES[activation]() if isinstance(activation, str) else Elementwise(function)
                modules[f"activation{number}"] = module
            modules["readout"] = initialize(nn.Linear(width, out_features), init)
        super().__init__(modules)
        self.depth = depth
