"""The gradient at the hidden states of ``nn.RNN``: from its outputs alone, since no hook reaches the steps inside."""

import torch
from torch import Tensor, nn

from gradclinic.recording.entering import EXAMPLES


def follows_time(module: nn.Module, output: Tensor) -> bool:
    """Whether it can be computed: for the last layer of a plain recurrent network, given whole sequences."""
    return type(module) is nn.RNN and output.dim() == 3 and module.proj_size == 0


@torch.no_grad()
def first_and_last(module: nn.RNN, states: Tensor, gradient: Tensor) -> tuple[float, float]:
    """Squared norm of the loss gradient at the hidden state of the first and of the last time step.

    Going back in time, a gradient is multiplied by the slopes of the activation and by the recurrent weights, and what
    the loss sends to that state directly is added (Pascanu 2013, equation 5). Of two directions the forward one counts.

    Args:
        states: shape (batch, time, hidden), or (time, batch, hidden) if ``module.batch_first`` is False.
        gradient: of the loss at each of them as an output, the same shape.
    """
    if module.batch_first:
        states, gradient = states.transpose(0, 1), gradient.transpose(0, 1)
    size = module.hidden_size
    states, gradient = states[:, :EXAMPLES, :size].float(), gradient[:, :EXAMPLES, :size].float()
    weights = getattr(module, f"weight_hh_l{module.num_layers - 1}").detach().float()
    slopes = (states > 0).to(states) if module.nonlinearity == "relu" else 1 - states * states
    back = last = gradient[-1]
    for time in range(len(states) - 2, -1, -1):
        back = gradient[time] + (back * slopes[time + 1]) @ weights
    return float(back.double().square().sum()), float(last.double().square().sum())
