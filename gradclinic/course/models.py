"""The networks of the course. Layers are numbered from the input, 1 to depth; the read-out comes after them."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gradclinic.arguments import number, whole
from gradclinic.course.initializers import Initializer, initialize
from gradclinic.course.theory import Activation, activation_function

# torch's own modules, not the formulas of ``theory``: what is measured must not rest on what predicts it.
_MODULES: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
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
        value: Tensor = self.function(z)
        return value


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Draw from ``seed`` inside, and leave torch's global generator as it was; with None, just use that generator."""
    if seed is None:
        yield
        return
    seed = whole("seed", seed, -math.inf)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class _Stack(nn.Sequential):
    """What MLP and ConvNet share: a forward pass that adds a layer's input to its output where skip connections are."""

    depth: int
    skip: bool
    branch_scale: float

    if TYPE_CHECKING:  # layer1, norm1, ...: modules get their names at run time

        def __getattr__(self, name: str) -> Any: ...

    def _describe(self, depth: int, skip: bool, branch_scale: float) -> None:
        self.depth, self.skip, self.branch_scale = depth, skip, branch_scale

    def forward(self, x: Tensor) -> Tensor:
        modules = iter(self.named_children())
        kept = x  # what the skip connection carries past the layer
        for name, module in modules:
            x = module(x)
            if self.skip and name.startswith("activation"):
                x = kept + self.branch_scale * x if name != "activation1" else x
                kept = x
        return x


def _norm(norm: str | None, kinds: Mapping[str, Callable[[int], nn.Module]], size: int) -> nn.Module | None:
    if norm is None:
        return None
    if norm not in kinds:
        raise ValueError(f"unknown norm {norm!r}; known: {', '.join(kinds)}, or None")
    return kinds[norm](size)


def _layers(
    n: int, layer: nn.Module, norm: nn.Module | None, activation: Activation
) -> Iterator[tuple[str, nn.Module]]:
    yield f"layer{n}", layer
    if norm is not None:
        yield f"norm{n}", norm
    yield f"activation{n}", _MODULES[activation]() if isinstance(activation, str) else Elementwise(activation)


class MLP(_Stack):
    """A deep network: ``depth`` hidden layers of ``width`` units, then a linear read-out.

    Its modules are named ``layer1``, (``norm1``,) ``activation1``, ..., ``layerL``, ``activationL``, ``readout``.

    Args:
        depth: number of hidden layers L, at least 1.
        width: units per hidden layer, at least 1.
        activation: a name of ``theory.ACTIVATIONS`` or an element-wise callable.
        init: a name of ``initializers.INITIALIZERS`` or sigma_w as a number; used for every layer and the read-out.
        norm: ``"batch"`` or ``"layer"`` normalises the pre-activations of every hidden layer.
        skip: layers 2 to L add their input to their output: h + branch_scale * activation(layer(h)).
        branch_scale: factor of the branch, only with ``skip``. 1 / sqrt(depth) keeps the sum from growing
            where the branch has mean 0; behind a ReLU it takes 1 / depth.
        in_features, out_features: 64 pixels and 10 classes unless told, as in ``data.digits``.
        seed: of the starting weights; with None they come from torch's global generator.
    Raises:
        ValueError: for a size below 1, an unknown activation, norm or initialiser, a negative weight scale.
        TypeError: for a size or seed that is not an integer, or an activation that is neither a name nor a callable.
    """

    def __init__(
        self,
        depth: int,
        width: int = 64,
        activation: Activation = "tanh",
        init: Initializer = "pytorch",
        *,
        norm: str | None = None,
        skip: bool = False,
        branch_scale: float = 1.0,
        in_features: int = 64,
        out_features: int = 10,
        seed: int | None = None,
    ):
        depth, width = whole("depth", depth), whole("width", width)
        in_features, out_features = whole("in_features", in_features), whole("out_features", out_features)
        activation_function(activation)  # refuses an unknown one
        branch_scale = number("branch_scale", branch_scale)
        kinds: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
        modules: OrderedDict[str, nn.Module] = OrderedDict()
        with _seeded(seed):
            for n in range(1, depth + 1):
                layer = initialize(nn.Linear(in_features if n == 1 else width, width), init)
                modules.update(_layers(n, layer, _norm(norm, kinds, width), activation))
            modules["readout"] = initialize(nn.Linear(width, out_features), init)
        super().__init__(modules)
        self._describe(depth, skip, branch_scale)


class ConvNet(_Stack):
    """A small convolutional network for square images: 3x3 convolutions, the mean over all places, a read-out.

    Its modules are named as those of ``MLP``, with ``image`` before the first and ``pool`` before the read-out.

    Args:
        depth, activation, init, norm, skip, branch_scale, seed: as for ``MLP``; fan-in is 9 times the channels.
            ``norm="layer"`` normalises each example over channels and places.
        channels: of every convolution, at least 1.
        side, in_channels: inputs are (batch, in_channels * side * side), as ``data.digits`` gives them.
        out_features: number of classes.
    Raises:
        ValueError, TypeError: as ``MLP``.
    """

    def __init__(
        self,
        depth: int,
        channels: int = 16,
        activation: Activation = "relu",
        init: Initializer = "he",
        *,
        norm: str | None = None,
        skip: bool = False,
        branch_scale: float = 1.0,
        side: int = 8,
        in_channels: int = 1,
        out_features: int = 10,
        seed: int | None = None,
    ):
        depth, channels, side = whole("depth", depth), whole("channels", channels), whole("side", side)
        in_channels, out_features = whole("in_channels", in_channels), whole("out_features", out_features)
        activation_function(activation)
        branch_scale = number("branch_scale", branch_scale)
        kinds: dict[str, Callable[[int], nn.Module]] = {
            "batch": nn.BatchNorm2d,
            "layer": lambda size: nn.GroupNorm(1, size),
        }
        modules: OrderedDict[str, nn.Module] = OrderedDict(image=nn.Unflatten(1, (in_channels, side, side)))
        with _seeded(seed):
            for n in range(1, depth + 1):
                layer = initialize(nn.Conv2d(in_channels if n == 1 else channels, channels, 3, padding=1), init)
                modules.update(_layers(n, layer, _norm(norm, kinds, channels), activation))
            modules["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            modules["readout"] = initialize(nn.Linear(channels, out_features), init)
        super().__init__(modules)
        self._describe(depth, skip, branch_scale)


_CELLS: dict[str, Callable[[int, int], nn.RNNCellBase]] = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}


class RecurrentClassifier(nn.Module):
    """One recurrent cell called at every time step, then a linear read-out of its last state.

    The cell is a module of its own, so whoever watches the network sees every step. With one output it does regression.

    Args:
        cell: ``"rnn"`` (tanh), ``"lstm"`` or ``"gru"``.
        hidden: units of the state, at least 1.
        in_features, out_features: numbers read at each step, and answered at the end.
        recurrent_init: of the state-to-state weights: ``"pytorch"`` keeps the library's own, ``"orthogonal"`` draws an
            orthogonal matrix, a number makes the spectral radius of a Gaussian matrix exactly that. Of an LSTM or a GRU
            it fills each gate's square.
        forget_bias: of an LSTM's forget gate at the start, None for the library's own.
        seed: of the starting weights; with None they come from torch's global generator.
    Raises:
        ValueError: for an unknown cell or recurrent_init, a size below 1, a forget_bias without an LSTM, or inputs that
            hold no time step.
        TypeError: for a size or seed that is not an integer.
    """

    def __init__(
        self,
        cell: str = "rnn",
        hidden: int = 64,
        *,
        in_features: int = 1,
        out_features: int = 10,
        recurrent_init: str | float = "pytorch",
        forget_bias: float | None = None,
        seed: int | None = None,
    ):
        super().__init__()
        if cell not in _CELLS:
            raise ValueError(f"unknown cell {cell!r}; known: {', '.join(_CELLS)}")
        hidden = whole("hidden", hidden)
        in_features, out_features = whole("in_features", in_features), whole("out_features", out_features)
        if isinstance(recurrent_init, str):
            if recurrent_init not in ("pytorch", "orthogonal"):
                raise ValueError(
                    f"unknown recurrent_init {recurrent_init!r}; known: pytorch, orthogonal, or a spectral radius"
                )
        else:
            recurrent_init = number("recurrent_init (a spectral radius)", recurrent_init)
        if forget_bias is not None and cell != "lstm":
            raise ValueError(f"forget_bias is a setting of an lstm, got it for cell {cell!r}")
        with _seeded(seed), torch.no_grad():
            self.cell = _CELLS[cell](in_features, hidden)
            if recurrent_init != "pytorch":
                for square in self.cell.weight_hh.split(hidden):
                    if recurrent_init == "orthogonal":
                        nn.init.orthogonal_(square)
                    else:
                        square.normal_()
                        square.mul_(recurrent_init / torch.linalg.eigvals(square).abs().max())
            if forget_bias is not None:
                # the gates are stacked as input, forget, cell, output; both biases are added, so one of them gets it
                self.cell.bias_ih[hidden : 2 * hidden] = number("forget_bias", forget_bias, -math.inf)
                self.cell.bias_hh[hidden : 2 * hidden] = 0
            self.readout = nn.Linear(hidden, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, time steps, in_features) to (batch, out_features); with one output, to (batch,)."""
        if x.dim() != 3 or x.shape[1] == 0:
            raise ValueError(
                f"inputs must be (batch, time steps, features) with at least 1 time step, got {tuple(x.shape)}"
            )
        state = None
        for inputs in x.unbind(1):
            state = self.cell(inputs, state)
        answer: Tensor = self.readout(state[0] if isinstance(state, tuple) else state)
        return answer.squeeze(1) if answer.shape[1] == 1 else answer


class SelfAttention(nn.Module):
    """Each token asks all of them, and takes the mean of what they hold, weighted by how well they fit what it asks.

    Its layers are four modules of their own, ``query``, ``key``, ``value`` and ``projection``, so whoever watches the
    network sees each of them.

    Args:
        width: numbers of a token, divided among the heads.
        heads: how many questions are asked side by side, at least 1.
        init: as for ``MLP``.
    Raises:
        ValueError: for a size below 1, or a width that the heads do not divide.
        TypeError: for a size that is not an integer.
    Source: Vaswani et al. 2017, section 3.2 and eq. 1.
    """

    def __init__(self, width: int, heads: int, init: Initializer = "xavier"):
        super().__init__()
        width, self.heads = whole("width", width), whole("heads", heads)
        if width % self.heads:
            raise ValueError(f"width must be a multiple of heads, got width {width} and {self.heads} heads")
        self.query, self.key, self.value, self.projection = (
            initialize(nn.Linear(width, width), init) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, tokens, width) to the same shape."""
        query, key, value = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        shares = (query @ key.transpose(2, 3) / math.sqrt(query.shape[3])).softmax(3)
        answer: Tensor = self.projection((shares @ value).transpose(1, 2).flatten(2))
        return answer


class TransformerBlock(nn.Module):
    """Attention between the tokens, then two layers for each token by itself; both are added to their input.

    Its modules are ``attention``, ``norm1``, ``up``, ``activation``, ``down`` and ``norm2``.

    Args:
        width, heads, init: as for ``SelfAttention``.
        hidden: units between ``up`` and ``down``; four times the width unless told.
        norm: where layer normalisation stands: ``"post"``, behind each sum; ``"pre"``, before each branch; or None.
        activation: a name of ``theory.ACTIVATIONS`` or an element-wise callable.
    Raises:
        ValueError: as ``SelfAttention``, and for an unknown norm, activation or initialiser.
        TypeError: as ``MLP``.
    Source: Vaswani et al. 2017, section 3.1 (post); Xiong et al. 2020, table 1 (both).
    """

    def __init__(
        self,
        width: int = 32,
        heads: int = 4,
        hidden: int | None = None,
        *,
        norm: str | None = "pre",
        activation: Activation = "relu",
        init: Initializer = "xavier",
    ):
        super().__init__()
        if norm not in ("pre", "post", None):
            raise ValueError(f"unknown norm {norm!r}; known: pre, post, or None")
        activation_function(activation)  # refuses an unknown one
        self.attention = SelfAttention(width, heads, init)
        width = whole("width", width)
        hidden = 4 * width if hidden is None else whole("hidden", hidden)
        self.norm = norm
        self.norm1, self.norm2 = (nn.Identity() if norm is None else nn.LayerNorm(width) for _ in range(2))
        self.up = initialize(nn.Linear(width, hidden), init)
        self.activation = _MODULES[activation]() if isinstance(activation, str) else Elementwise(activation)
        self.down = initialize(nn.Linear(hidden, width), init)

    def _each(self, x: Tensor) -> Tensor:
        answer: Tensor = self.down(self.activation(self.up(x)))
        return answer

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, tokens, width) to the same shape."""
        if self.norm == "pre":
            x = x + self.attention(self.norm1(x))
            return x + self._each(self.norm2(x))
        x = self.norm1(x + self.attention(x))
        summed: Tensor = self.norm2(x + self._each(x))
        return summed


class _Positions(nn.Module):
    """Adds to each token a vector of its own, which is learnt: else attention would not know their order."""

    def __init__(self, tokens: int, width: int):
        super().__init__()
        self.table = nn.Parameter(torch.randn(tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table


class Transformer(nn.Module):
    """A small Transformer that reads an image row by row: a token for each row, the mean of all tokens at the end.

    Its modules are ``embed``, ``positions``, ``block1``, ..., ``blockL``, (``norm``, with ``norm="pre"``,) ``readout``.

    Args:
        depth: number of blocks L, at least 1.
        width, heads, hidden, norm, activation, init: as for ``TransformerBlock``.
        side: inputs are (batch, side * side), as ``data.digits`` gives them.
        out_features: number of classes.
        seed: of the starting weights; with None they come from torch's global generator.
    Raises:
        ValueError, TypeError: as ``TransformerBlock``, and for a depth, side or out_features below 1 or no integer.
    """

    def __init__(
        self,
        depth: int,
        width: int = 32,
        heads: int = 4,
        hidden: int | None = None,
        *,
        norm: str | None = "pre",
        activation: Activation = "relu",
        init: Initializer = "xavier",
        side: int = 8,
        out_features: int = 10,
        seed: int | None = None,
    ):
        super().__init__()
        self.depth, side = whole("depth", depth), whole("side", side)
        out_features = whole("out_features", out_features)
        with _seeded(seed):
            blocks = [
                TransformerBlock(width, heads, hidden, norm=norm, activation=activation, init=init)
                for _ in range(self.depth)
            ]
            self.rows = nn.Unflatten(1, (side, side))
            self.embed = initialize(nn.Linear(side, width), init)
            self.positions = _Positions(side, width)
            for n, block in enumerate(blocks, 1):
                self.add_module(f"block{n}", block)
            self.norm = nn.LayerNorm(width) if norm == "pre" else nn.Identity()
            self.readout = initialize(nn.Linear(width, out_features), init)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, side * side) to (batch, out_features)."""
        x = self.positions(self.embed(self.rows(x)))
        for n in range(1, self.depth + 1):
            x = self.get_submodule(f"block{n}")(x)
        answer: Tensor = self.readout(self.norm(x).mean(1))
        return answer
