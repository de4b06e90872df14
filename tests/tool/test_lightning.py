"""Under Lightning the callback sees what a recorder in a plain loop sees, speaks once, and can be pickled."""

import importlib
import math
import pickle
import sys
import warnings

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.tensorboard import SummaryWriter

from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.lightning import DiagnosisCallback
from gradclinic.record import Record
from gradclinic.recorder import Recorder
from tests.helpers.hooks import global_hooks, hooks_of
from tests.helpers.watched import same, ways_out


@pytest.fixture(autouse=True)
def nothing_listens_when_a_training_has_ended():
    before = global_hooks()
    yield
    assert global_hooks() == before, "a recorder still listens to optimisers"


class Classifier(pl.LightningModule):
    """As people write them: the network is an attribute, and nobody calls the module itself."""

    meanwhile = None  # something to do in each step

    def __init__(self, depth: int = 2, activation: str = "tanh", lr: float = 0.1, fail_at: int | None = None):
        super().__init__()
        self.net = MLP(depth, 16, activation, "xavier", seed=0)
        self.lr, self.fail_at = lr, fail_at

    def training_step(self, batch, index):
        if index == self.fail_at:
            raise RuntimeError("the power went out")
        if self.meanwhile is not None:
            self.meanwhile()
        x, y = batch
        return cross_entropy(self.net(x), y)

    def validation_step(self, batch, index):
        self.net(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.net.parameters(), lr=self.lr, momentum=0.9)


class ByHand(Classifier):
    """Manual optimisation: two batches a step, each divided by two."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, index):
        x, y = batch
        self.manual_backward(cross_entropy(self.net(x), y))
        if index % 2:
            self.optimizers().step()
            self.optimizers().zero_grad()


def batches() -> DataLoader:
    data = digits()
    return DataLoader(TensorDataset(data.x_train, data.y_train), batch_size=32)


def lightning_fit(model, callback, steps: int = 6, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about few workers and no checkpoints
        quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
        quiet |= {"enable_model_summary": False, "limit_val_batches": 2, "num_sanity_val_steps": 2}
        trainer = pl.Trainer(accelerator="cpu", max_steps=steps, callbacks=[callback], **quiet, **options)
        trainer.fit(model, train_dataloaders=batches(), val_dataloaders=batches())
    return trainer


def plain_fit(model: Classifier, steps: int, parts: int, divide: bool, clip: float | None, **options) -> Record:
    """The same training as a loop of one's own."""
    optimizer, source = model.configure_optimizers(), iter(batches())
    model.train()
    with Recorder(model, **options) as recorder:
        for _ in range(steps):
            optimizer.zero_grad()
            for _ in range(parts):
                x, y = next(source)
                loss = cross_entropy(model.net(x), y)
                (loss / parts if divide else loss).backward()
                recorder.log_loss(loss)
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
    return recorder.record


@pytest.mark.parametrize(("parts", "clip"), [(1, None), (1, 0.5), (3, None), (3, 0.5)])
def test_lightning_gives_the_record_of_a_plain_loop(parts, clip, capsys):
    watch = DiagnosisCallback(every=1, chance_loss=2.3)
    model = Classifier()
    trainer = lightning_fit(model, watch, accumulate_grad_batches=parts, gradient_clip_val=clip)
    assert trainer.global_step == 6
    same(watch.record, plain_fit(Classifier(), 6, parts, True, clip, every=1, chance_loss=2.3))
    assert hooks_of(model) == 0


def test_lightning_with_manual_optimisation_gives_the_record_of_a_plain_loop():
    watch, model = DiagnosisCallback(every=1), ByHand()
    lightning_fit(model, watch)
    same(watch.record, plain_fit(ByHand(), 6, 2, False, None, every=1))
    assert hooks_of(model) == 0


def test_a_gradient_scaler_does_not_scale_the_loss_that_is_told():
    from lightning.pytorch.plugins import MixedPrecision

    watch = DiagnosisCallback(every=1)
    plugin = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0**16))
    lightning_fit(Classifier(), watch, plugins=[plugin])
    loss = watch.record.loss
    assert np.isfinite(loss).all()
    assert 1 < loss[0] < 5, f"a cross-entropy of ten classes, not times 65,536: {loss}"


def test_an_exception_under_lightning_takes_the_hooks_off_and_keeps_the_record(capsys, monkeypatch):
    left = ways_out(monkeypatch)
    watch, model = DiagnosisCallback(every=1), Classifier(fail_at=4)
    with pytest.raises(RuntimeError, match="the power went out"):
        lightning_fit(model, watch)
    assert hooks_of(model) == 0, "hooks are left after an exception"
    assert watch.record.step.tolist() == [1, 2, 3, 4]
    assert np.isfinite(watch.record.loss).all()
    assert capsys.readouterr().out.count("Diagnosis after 4 steps: undecided") == 1
    assert left == [RuntimeError], "a recorder that knows of no exception waits for the other processes"


def test_lightning_prints_one_diagnosis_of_a_broken_network_while_it_still_trains(capsys, tmp_path):
    watch = DiagnosisCallback(tmp_path / "run", check_every=30, chance_loss=math.log(10), every=1)
    trainer = lightning_fit(Classifier(20, "sigmoid"), watch, steps=126)
    told = capsys.readouterr().out
    assert trainer.global_step == 126
    assert watch.diagnosis.kind == "vanishing"
    assert told.count("Diagnosis after") == 1
    assert "Diagnosis after 60 steps: vanishing" in told, "the second look that finds it, and not the end"
    reader = EventAccumulator(str(tmp_path / "run")).Reload()
    assert "gradient_norm/net.layer1" in reader.Tags()["scalars"]
    assert "loss" in reader.Tags()["scalars"]


def test_lightning_prints_one_diagnosis_of_a_healthy_network_at_the_end(capsys):
    watch = DiagnosisCallback(check_every=30, chance_loss=math.log(10))
    lightning_fit(Classifier(lr=0.05), watch, steps=126)
    told = capsys.readouterr().out
    assert told.count("Diagnosis after") == 1
    assert "healthy" in told
    assert watch.diagnosis.healthy


def test_what_is_not_finite_is_told_at_the_first_look(capsys):
    watch = DiagnosisCallback(check_every=10, chance_loss=math.log(10), every=1)
    lightning_fit(Classifier(activation="relu", lr=1e30), watch, steps=40)
    told = capsys.readouterr().out
    assert told.count("Diagnosis after") == 1
    assert "Diagnosis after 10 steps" in told


def test_a_second_training_has_a_record_that_continues_the_first():
    watch, model = DiagnosisCallback(every=1), Classifier()
    lightning_fit(model, watch, steps=3)
    first = watch.record
    lightning_fit(model, watch, steps=2)
    assert watch.record.step.tolist() == [1, 2]
    assert first.step.tolist() == [1, 2, 3]
    assert first.then(watch.record).step.tolist() == [1, 2, 3, 4, 5]


def test_a_folder_that_is_filled_is_refused_before_the_training(tmp_path):
    watch = DiagnosisCallback(tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "other").write_text("")
    with pytest.raises(FileExistsError, match=r"something in .*run already"):
        lightning_fit(Classifier(fail_at=0), watch)


def test_a_full_disk_at_the_end_is_a_warning_and_no_end_of_the_training(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SummaryWriter, "add_scalar", full)
    watch = DiagnosisCallback(tmp_path / "run", every=1)
    watch.begin(model := MLP(1, 2), True)
    model(torch.zeros(1, 64)).sum().backward()
    watch.recorder.capture()
    with pytest.warns(UserWarning, match="not written for TensorBoard.*No space left"):
        watch.finish()
    assert len(watch.record.step) == 1
    assert hooks_of(model) == 0


def test_before_a_training_there_is_no_record():
    with pytest.raises(ValueError, match="watched no training yet"):
        _ = DiagnosisCallback().record


# --- what goes along in a copy -----------------------------------------------------------------------------------


def test_a_pickled_callback_watches_as_the_first_would_have():
    watch = pickle.loads(pickle.dumps(DiagnosisCallback(check_every=7, every=1, chance_loss=2.3)))
    lightning_fit(Classifier(), watch)
    same(watch.record, plain_fit(Classifier(), 6, 1, True, None, every=1, chance_loss=2.3))


def test_after_a_training_a_pickled_callback_has_record_and_diagnosis_but_no_model():
    watch, model = DiagnosisCallback(every=1), Classifier()
    model.meanwhile = lambda: None  # cannot be pickled
    lightning_fit(model, watch)
    again = pickle.loads(pickle.dumps(watch))
    same(again.record, watch.record)
    assert again.diagnosis == watch.diagnosis
    assert again.recorder is None
    same(pickle.loads(pickle.dumps(again)).record, watch.record)


def test_a_copy_made_in_the_middle_of_a_training_keeps_what_was_seen_and_watches_nothing():
    watch, model, copies = DiagnosisCallback(every=1), Classifier(), []
    model.meanwhile = lambda: copies.append(pickle.loads(pickle.dumps(watch)))
    lightning_fit(model, watch)
    assert [len(copy.record.step) for copy in copies] == [0, 1, 2, 3, 4, 5]
    assert not any(copy.watching for copy in copies)
    assert len(watch.record.step) == 6


# --- what is missing ---------------------------------------------------------------------------------------------


def test_without_lightning_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.delitem(sys.modules, "gradclinic.lightning")
    with pytest.raises(ModuleNotFoundError, match=r"lightning\.pytorch.*pip install lightning$"):
        importlib.import_module("gradclinic.lightning")


def test_without_tensorboard_a_folder_is_refused_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ModuleNotFoundError, match="pip install tensorboard"):
        DiagnosisCallback(tmp_path / "run")
    assert DiagnosisCallback().recorder is None
