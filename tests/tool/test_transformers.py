"""Under Hugging Face's Trainer the callback sees what a recorder in a plain loop sees, speaks once, can be pickled."""

import copy
import importlib
import math
import pickle
import sys

import numpy as np
import pytest
import torch
import transformers
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn.functional import cross_entropy

from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.record import Record
from gradclinic.recorder import Recorder
from gradclinic.transformers import DiagnosisCallback
from tests.helpers.hooks import global_hooks, hooks_of
from tests.helpers.watched import same, ways_out


@pytest.fixture(autouse=True)
def nothing_listens_when_a_training_has_ended():
    before = global_hooks()
    yield
    assert global_hooks() == before, "a recorder still listens to optimisers"


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

    model, watch = make(), DiagnosisCallback(every=1)
    spy = model.register_forward_pre_hook(keep, with_kwargs=True)
    trainer = hf_trainer(model, data(), tmp_path, watch, max_grad_norm=clip, gradient_accumulation_steps=parts)
    trainer.train()
    spy.remove()
    assert len(seen) == 6 * parts
    assert hooks_of(model) == 0
    same(watch.record, replay(make(), seen, parts, clip, every=1))


def test_an_evaluation_between_the_steps_leaves_no_trace_in_the_loss(tmp_path):
    records = []
    for options in ({}, {"eval_strategy": "steps", "eval_steps": 2}):
        watch = DiagnosisCallback(every=1)
        hf_trainer(Plain(), images(), tmp_path, watch, held=(images()[:16], None), **options).train()
        records.append(watch.record)
    same(*records)


def test_a_loss_computed_outside_the_model_can_be_told(tmp_path):
    watch = DiagnosisCallback(every=1)

    def outside(outputs, labels, num_items_in_batch=None):
        loss = cross_entropy(outputs["logits"], labels)
        watch.log_loss(loss)
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
    model, watch = Plain(fail_at=4), DiagnosisCallback(every=1)
    with pytest.raises(RuntimeError, match="the power went out"), watch:
        hf_trainer(model, images(), tmp_path, watch).train()
    assert hooks_of(model) == 0, "hooks are left after an exception"
    assert watch.record.step.tolist() == [1, 2, 3, 4]
    assert np.isfinite(watch.record.loss).all()
    assert capsys.readouterr().out.count("Diagnosis after 4 steps: undecided") == 1
    assert left == [RuntimeError], "a recorder that knows of no exception waits for the other processes"


def test_hugging_face_prints_one_diagnosis_of_a_broken_network_while_it_still_trains(tmp_path, capsys):
    with DiagnosisCallback(tmp_path / "run", check_every=30, chance_loss=math.log(10), every=1) as watch:
        hf_trainer(Plain(20, "sigmoid"), images(), tmp_path, watch, steps=100).train()
    told = capsys.readouterr().out
    assert told.count("Diagnosis after") == 1
    assert "Diagnosis after 60 steps: vanishing" in told
    assert watch.diagnosis.kind == "vanishing"
    assert len(watch.record.step) == 100
    assert "loss" in EventAccumulator(str(tmp_path / "run")).Reload().Tags()["scalars"]


def test_hugging_face_prints_one_diagnosis_of_a_healthy_network_at_the_end(tmp_path, capsys):
    watch = DiagnosisCallback(check_every=30, chance_loss=math.log(10))
    hf_trainer(Plain(), images(), tmp_path, watch, steps=150, lr=0.3).train()
    told = capsys.readouterr().out
    assert told.count("Diagnosis after") == 1
    assert "healthy" in told


def test_before_a_training_there_is_no_record():
    with pytest.raises(ValueError, match="watched no training yet"):
        _ = DiagnosisCallback().record


# --- what goes along in a copy -----------------------------------------------------------------------------------


def test_a_pickled_callback_watches_as_the_first_would_have(tmp_path):
    records = []
    for watch in (DiagnosisCallback(every=1), pickle.loads(pickle.dumps(DiagnosisCallback(every=1)))):
        hf_trainer(Plain(), images(), tmp_path, watch).train()
        records.append(watch.record)
    assert len(records[1].step) == 6
    same(*records)


def test_after_a_training_a_pickled_callback_has_record_and_diagnosis_but_no_model(tmp_path):
    watch, model = DiagnosisCallback(every=1), Plain()
    model.note = lambda: None  # cannot be pickled
    hf_trainer(model, images(), tmp_path, watch).train()
    again = pickle.loads(pickle.dumps(watch))
    same(again.record, watch.record)
    assert again.diagnosis == watch.diagnosis
    assert again.recorder is None


def test_a_model_copied_in_the_middle_of_a_training_is_not_watched(tmp_path):
    class Copied(Plain):
        copies: list = []  # noqa: RUF012 (shared by all copies on purpose)

        def forward(self, x, labels):
            if not self.copies and torch.is_grad_enabled():
                self.copies.append(None)  # the copy below makes no other
                self.copies[0] = copied = copy.deepcopy(self)
                copied(x, labels)["loss"].backward()
            return super().forward(x, labels)

    watch, plain = DiagnosisCallback(every=1), DiagnosisCallback(every=1)
    hf_trainer(Copied(), images(), tmp_path, watch).train()
    hf_trainer(Plain(), images(), tmp_path, plain).train()
    same(watch.record, plain.record)


# --- what is missing ---------------------------------------------------------------------------------------------


def test_without_transformers_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "gradclinic.transformers")
    with pytest.raises(ModuleNotFoundError, match=r"transformers.*pip install transformers accelerate$"):
        importlib.import_module("gradclinic.transformers")
