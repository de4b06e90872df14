"""How many hooks a recorder has left: none should stay."""

from torch.optim import optimizer as torch_optimizer

from gradclinic import recorder as recorder_module


def hooks_of(model) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


def global_hooks() -> int:
    """Hooks that torch keeps for all optimisers, and the recorders that ours tells of a step."""
    of_torch = len(torch_optimizer._global_optimizer_pre_hooks) + len(torch_optimizer._global_optimizer_post_hooks)
    return of_torch + len(recorder_module._listening)
