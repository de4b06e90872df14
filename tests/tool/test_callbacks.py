"""Under Lightning and Hugging Face the callbacks see what a recorder in a plain loop sees, and speak once."""

import dataclasses
import math
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import transformers
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from gradclinic.callbacks import lightning_callback, transformers_callback
from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.record import Record
from gradclinic.recorder import Recorder
from gradclinic.recording.optimizers import LISTENERS


def same(a: Record, b: Record) -> None:
    for field in dataclasses.fields(Record):
        one, other = getattr(a, field.name), getattr(b, field.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_allclose(one, other, rtol=1e-6, err_msg=field.name)
        else:
            assert one == other or (one != one and other != other), f"{field.name}: {one!r} and {other!r}"


def hooks(model: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    on_modules = sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)
    return on_modules + len(LISTENERS)


def test_importing_the_package_imports_none_of_the_libraries():
    found = "print({'lightning', 'transformers', 'accelerate'} & set(sys.modules))"
    code = f"import sys, gradclinic, gradclinic.callbacks; {found}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("module", "make", "extra"),
    [
        ("lightning.pytorch", lightning_callback, "lightning"),
        ("transformers", transformers_callback, "transformers"),
    ],
)
def test_a_missing_library_is_named_with_what_to_install(module, make, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=rf'{module}.*pip install "gradclinic\[{extra}\]"'):
        make()
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())["project"]
    assert any(wanted.startswith(extra) for wanted in project["optional-dependencies"][extra])


@pytest.mark.parametrize("make", [lightning_callback, transformers_callback])
def test_before_a_training_there_is_no_record(make):
    with pytest.raises(ValueError, match="watched no training yet"):
        _ = make().record


# --- Lightning ---------------------------------------------------------------------------------------------------


class Classifier(pl.LightningModule):
    """As people write them: the network is an attribute, and nobody calls the module itself."""

    def __init__(self, depth: int = 2, activation: str = "tanh", lr: float = 0.1, fail_at: int | None = None):
        super().__init__()
        self.net = MLP(depth, 16, activation, "xavier", seed=0)
        self.lr, self.fail_at = lr, fail_at

    def training_step(self, batch, index):
        if index == self.fail_at:
            raise RuntimeError("the power went out")
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
    watch = lightning_callback(every=1, chance_loss=2.3)
    model = Classifier()
    trainer = lightning_fit(model, watch, accumulate_grad_batches=parts, gradient_clip_val=clip)
    assert trainer.global_step == 6
    same(watch.record, plain_fit(Classifier(), 6, parts, True, clip, every=1, chance_loss=2.3))
    assert hooks(model) == 0


def test_lightning_with_manual_optimisation_gives_the_record_of_a_plain_loop():
    watch, model = lightning_callback(every=1), ByHand()
    lightning_fit(model, watch)
    same(watch.record, plain_fit(ByHand(), 6, 2, False, None, every=1))
    assert hooks(model) == 0


def test_a_gradient_scaler_does_not_scale_the_loss_that_is_told():
    from lightning.pytorch.plugins import MixedPrecision

    watch = lightning_callback(every=1)
    plugin = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0**16))
    lightning_fit(Classifier(), watch, plugins=[plugin])
    loss = watch.record.loss
    assert np.isfinite(loss).all() and 1 < loss[0] < 5, f"a cross-entropy of ten classes, not times 65,536: {loss}"


def ways_out(monkeypatch) -> list:
    """The kinds of exception, or None, with which recorders are left from now on."""
    left, leave = [], Recorder.__exit__
    monkeypatch.setattr(Recorder, "__exit__", lambda self, *kind: left.append(kind[0]) or leave(self, *kind))
    return left


def test_an_exception_under_lightning_takes_the_hooks_off_and_keeps_the_record(capsys, monkeypatch):
    left = ways_out(monkeypatch)
    watch, model = lightning_callback(every=1), Classifier(fail_at=4)
    with pytest.raises(RuntimeError, match="the power went out"):
        lightning_fit(model, watch)
    assert hooks(model) == 0, "hooks are left after an exception"
    assert watch.record.step.tolist() == [1, 2, 3, 4]
    assert np.isfinite(watch.record.loss).all()
    assert capsys.readouterr().out.count("Diagnosis after 4 steps: undecided") == 1
    assert left == [RuntimeError], "a recorder that knows of no exception waits for the other processes"


def test_lightning_prints_one_diagnosis_of_a_broken_network_while_it_still_trains(capsys, tmp_path):
    watch = lightning_callback(tmp_path / "run", check_every=30, chance_loss=math.log(10), every=1)
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
    watch = lightning_callback(check_every=30, chance_loss=math.log(10))
    lightning_fit(Classifier(lr=0.05), watch, steps=126)
    told = capsys.readouterr().out
    assert told.count("Diagnosis after") == 1
    assert "healthy" in told
    assert watch.diagnosis.healthy


def test_what_is_not_finite_is_told_at_the_first_look(capsys):
    watch = lightning_callback(check_every=10, chance_loss=math.log(10), every=1)
    lightning_fit(Classifier(activation="relu", lr=1e30), watch, steps=40)
    told = capsys.readouterr().out
    assert told.count("Diagnosis after") == 1
    assert "Diagnosis after 10 steps" in told


def test_a_second_training_has_a_record_that_continues_the_first():
    watch, model = lightning_callback(every=1), Classifier()
    lightning_fit(model, watch, steps=3)
    first = watch.record
    lightning_fit(model, watch, steps=2)
    assert watch.record.step.tolist() == [1, 2]
    assert first.step.tolist() == [1, 2, 3]
    assert first.then(watch.record).step.tolist() == [1, 2, 3, 4, 5]


def test_a_folder_that_is_filled_is_refused_before_the_training(tmp_path):
    watch = lightning_callback(tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "other").write_text("")
    with pytest.raises(FileExistsError, match=r"something in .*run already"):
        lightning_fit(Classifier(fail_at=0), watch)


def test_a_full_disk_at_the_end_is_a_warning_and_no_end_of_the_training(tmp_path, monkeypatch):
    from gradclinic import tensorboard

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensorboard, "_write", full)
    watch = lightning_callback(tmp_path / "run", every=1)
    watch._begin(model := MLP(1, 2), True)
    model(torch.zeros(1, 64)).sum().backward()
    watch.recorder.capture()
    with pytest.warns(UserWarning, match="not written for TensorBoard.*No space left"):
        watch._end()
    assert len(watch.record.step) == 1
    assert hooks(model) == 0


# --- Hugging Face ------------------------------------------------------------------------------------------------


def gpt2() -> nn.Module:
    """A model whose forward pass takes the number of items of all batches of the step."""
    torch.manual_seed(0)
    sizes = {"n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 12, "vocab_size": 24}
    off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **off))


class Plain(nn.Module):
    """A model of one's own: its loss is a mean, and the Trainer divides it."""

    def __init__(self, depth: int = 2, activation: str = "tanh", fail_at: int | None = None):
        super().__init__()
        self.net = MLP(depth, 16, activation, "xavier", seed=0)
        self.left = fail_at

    def forward(self, x, labels):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("the power went out")
        scores = self.net(x)
        return {"loss": cross_entropy(scores, labels), "logits": scores}


def text() -> list[dict[str, torch.Tensor]]:
    """Token sequences that count on; a different number of labels counts in each."""
    rows = []
    for n in range(64):
        tokens = (torch.arange(12) + n) % 24
        labels = tokens.clone()
        labels[: n % 9] = -100
        rows.append({"input_ids": tokens, "labels": labels})
    return rows


def images() -> list[dict[str, torch.Tensor]]:
    data = digits()
    return [{"x": x, "labels": y} for x, y in zip(data.x_train, data.y_train, strict=True)]


def hf_trainer(model, data, folder, watch, steps: int = 6, lr: float = 0.1, held: tuple = (None, None), **options):
    quiet = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no"}
    same_rate = {"learning_rate": lr, "lr_scheduler_type": "constant", "optim": "sgd"}
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), max_steps=steps, per_device_train_batch_size=8, **quiet, **same_rate, **options
    )
    evaluated, loss = held
    sets = {"train_dataset": data, "eval_dataset": evaluated}
    return transformers.Trainer(model, arguments, callbacks=[watch], compute_loss_func=loss, **sets)


def replay(model, seen, parts: int, clip: float, lr: float = 0.1, **options) -> Record:
    """The same batches in a loop of one's own; the loss is the mean over all items of the step's batches."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    model.train()
    with Recorder(model, **options) as recorder:
        for start in range(0, len(seen), parts):
            optimizer.zero_grad()
            step = seen[start : start + parts]
            items = sum(int((batch["labels"] != -100).sum()) for batch in step)
            total = 0.0
            for batch in step:
                if "x" in batch:
                    loss = model(**batch)["loss"] / len(step)
                else:
                    scores, wanted = model(batch["input_ids"]).logits[:, :-1], batch["labels"][:, 1:]
                    loss = cross_entropy(scores.flatten(0, 1), wanted.flatten(), reduction="sum") / items
                loss.backward()
                total += loss.item()
            recorder.log_loss(total)
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
    return recorder.record


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("clip", [1.0, 0.05])
@pytest.mark.parametrize(("make", "data"), [(gpt2, text), (Plain, images)], ids=["gpt2", "plain"])
def test_hugging_face_gives_the_record_of_a_plain_loop(make, data, parts, clip, tmp_path):
    seen = []

    def keep(module, args, kwargs):
        seen.append({name: kwargs[name].clone() for name in ("input_ids", "x", "labels") if name in kwargs})

    model, watch = make(), transformers_callback(every=1)
    spy = model.register_forward_pre_hook(keep, with_kwargs=True)
    trainer = hf_trainer(model, data(), tmp_path, watch, max_grad_norm=clip, gradient_accumulation_steps=parts)
    trainer.train()
    spy.remove()
    assert len(seen) == 6 * parts
    assert hooks(model) == 0
    same(watch.record, replay(make(), seen, parts, clip, every=1))


def test_an_evaluation_between_the_steps_leaves_no_trace_in_the_loss(tmp_path):
    records = []
    for options in ({}, {"eval_strategy": "steps", "eval_steps": 2}):
        watch = transformers_callback(every=1)
        hf_trainer(Plain(), images(), tmp_path, watch, held=(images()[:16], None), **options).train()
        records.append(watch.record)
    same(*records)


def test_a_loss_computed_outside_the_model_can_be_told(tmp_path):
    watch = transformers_callback(every=1)

    def outside(outputs, labels, num_items_in_batch=None):
        loss = cross_entropy(outputs["logits"], labels)
        watch.recorder.log_loss(loss)
        return loss

    class Scores(Plain):
        def forward(self, x):
            return {"logits": self.net(x)}

    names = {"label_names": ["labels"], "remove_unused_columns": False}
    hf_trainer(Scores(), images(), tmp_path, watch, held=(None, outside), **names).train()
    assert np.isfinite(watch.record.loss).all()
    assert len(watch.record.loss) == 6


def test_an_exception_under_hugging_face_takes_the_hooks_off_and_keeps_the_record(tmp_path, capsys, monkeypatch):
    left = ways_out(monkeypatch)
    model, watch = Plain(fail_at=4), transformers_callback(every=1)
    with pytest.raises(RuntimeError, match="the power went out"), watch:
        hf_trainer(model, images(), tmp_path, watch).train()
    assert hooks(model) == 0, "hooks are left after an exception"
    assert watch.record.step.tolist() == [1, 2, 3, 4]
    assert np.isfinite(watch.record.loss).all()
    assert capsys.readouterr().out.count("Diagnosis after 4 steps: undecided") == 1
    assert left == [RuntimeError], "a recorder that knows of no exception waits for the other processes"


def test_hugging_face_prints_one_diagnosis_of_a_broken_network_while_it_still_trains(tmp_path, capsys):
    with transformers_callback(tmp_path / "run", check_every=30, chance_loss=math.log(10), every=1) as watch:
        hf_trainer(Plain(20, "sigmoid"), images(), tmp_path, watch, steps=100).train()
    told = capsys.readouterr().out
    assert told.count("Diagnosis after") == 1
    assert "Diagnosis after 60 steps: vanishing" in told
    assert watch.diagnosis.kind == "vanishing"
    assert len(watch.record.step) == 100
    assert "loss" in EventAccumulator(str(tmp_path / "run")).Reload().Tags()["scalars"]


def test_hugging_face_prints_one_diagnosis_of_a_healthy_network_at_the_end(tmp_path, capsys):
    watch = transformers_callback(check_every=30, chance_loss=math.log(10))
    hf_trainer(Plain(), images(), tmp_path, watch, steps=150, lr=0.3).train()
    told = capsys.readouterr().out
    assert told.count("Diagnosis after") == 1
    assert "healthy" in told
