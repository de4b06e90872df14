"""A network that does not learn is diagnosed, and treated as told, until it does."""

from typing import Any

import torch

from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.course.training import fit
from gradclinic.course.treatment import changes
from gradclinic.diagnosis import diagnose
from gradclinic.recorder import Recorder

# Two faults: in so deep a sigmoid network the gradient vanishes, and the learning rate is far too low besides.
BROKEN: dict[str, Any] = {"activation": "sigmoid", "init": "xavier", "norm": None}
LEARNING_RATE = 1e-5
DEPTH, EPOCHS = 20, 12
ATTEMPTS = 4


def demo(seed: int = 0) -> None:
    """Train, diagnose and apply the first remedy, until none is needed; print it all."""
    data = digits(seed)
    settings, rate = dict(BROKEN), LEARNING_RATE
    print(f"A network of {DEPTH} hidden layers learns to read {len(data.x_train):,} handwritten digits.")
    for attempt in range(1, ATTEMPTS + 1):
        model = MLP(DEPTH, **settings, seed=seed)
        recorder = Recorder(model)
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        history = fit(model, data, optimizer, EPOCHS, recorder=recorder, seed=seed, progress=False)
        diagnosis = diagnose(recorder.record)
        told = ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
        print(f"\n--- Training {attempt}: {told}, learning rate {rate:g}")
        print(f"It reads {history.test_accuracy[-1]:.0%} of the digits it has not seen.\n\n{diagnosis}", flush=True)
        if not diagnosis.remedies or attempt == ATTEMPTS:
            return
        changed = changes(diagnosis.remedies[0], settings["activation"])
        rate *= changed.pop("lr_times", 1.0)
        settings |= changed
        print("\nThe first remedy is applied, and the network trained again.")
