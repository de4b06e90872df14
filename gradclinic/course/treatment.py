"""A remedy as settings of this course's networks, so that a program can follow the advice of ``diagnose``."""

from typing import Any

from gradclinic.remedies import GATES, INITIALIZE, NORMALIZE, RANDOM, RELU, Remedy


def changes(remedy: Remedy, activation: str, recurrent: bool = False) -> dict[str, Any]:
    """What a remedy changes in the settings of a network.

    Args:
        remedy: one of those that a ``Diagnosis`` recommends.
        activation: name of the one that the network has.
        recurrent: whether it is a recurrent network.
    Returns:
        New values for "activation", "init", "norm" or "cell", or a number for "lr_times".
    Raises:
        TypeError: for something else than a ``Remedy``.
        ValueError: for a remedy that takes more than a setting.
    """
    if not isinstance(remedy, Remedy):
        raise TypeError(f"remedy must be a Remedy, got {remedy!r}")
    critical = {"tanh": "xavier", "sigmoid": "xavier", "linear": "lecun"}.get(activation, "he")
    if remedy in (INITIALIZE, RANDOM):
        return {"init": "orthogonal" if recurrent else critical}
    if remedy == RELU:
        return {"activation": "relu", "init": "he"}
    if remedy == NORMALIZE:
        return {"norm": "batch"}
    if remedy == GATES:
        return {"cell": "gru", "init": "pytorch"}
    if remedy.factor is not None:
        return {"lr_times": remedy.factor}
    raise ValueError(f"no setting is changed by the remedy {remedy.name!r}: {remedy.advice}")
