"""How many hooks a recorder has left: none should stay."""

import gc

from torch.optim import optimizer as torch_optimizer

from gradclinic.recording.optimizers import LISTENERS


def hooks_of(model) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


def hooks_for_all() -> list:
    """Hooks that torch keeps for all optimisers."""
    kinds = ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks")
    return [hook for kind in kinds for hook in getattr(torch_optimizer, kind).values()]


def global_hooks() -> int:
    """Those of others, and the recorders that our own two tell of a step."""
    gc.collect()  # a recorder that nobody holds and nobody has left is told until it is collected
    others = [hook for hook in hooks_for_all() if getattr(hook, "__self__", None) is not LISTENERS]
    return len(others) + len(LISTENERS)
