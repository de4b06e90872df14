"""Measurements that are kept: in a form that is exact and holds no code, and only for the code that made them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from gradclinic.course.audit.kept import Kept, plain, restored
from gradclinic.course.data import digits
from gradclinic.course.models import MLP
from gradclinic.record import Record
from gradclinic.recorder import probe


class Run(NamedTuple):
    loss: np.ndarray
    accuracy: float
    skipped: int
    named: tuple[str, str]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (0.1 + 0.2, float),
        (math.inf, float),
        (7, int),
        ("ReLU", str),
        (np.array([[0.1, math.nan], [-math.inf, 5e-324]]), np.ndarray),
        (np.arange(6, dtype=np.float32).reshape(1, 2, 3) / 7, np.ndarray),
        (np.array([True, False]), np.ndarray),
        (np.zeros((0, 3)), np.ndarray),
        (np.arange(12.0).reshape(3, 4).T, np.ndarray),
        ((np.arange(3), 0.1), tuple[np.ndarray, float]),
        (Run(np.array([1 / 3], dtype=np.float32), 0.1, 2, ("layer1", "output")), Run),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_kept_comes_back_to_the_last_bit(value, kind):
    found = restored(json.loads(json.dumps(plain(value))), kind)
    assert type(found) is type(value)
    parts = [(found, value)] if not isinstance(value, tuple) else list(zip(found, value, strict=True))
    for one, other in parts:
        if isinstance(other, np.ndarray):
            assert one.dtype == other.dtype
            assert one.shape == other.shape
            assert one.tobytes() == other.tobytes()
            assert one.flags.writeable
        else:
            assert one == other


def test_a_record_comes_back_to_the_last_bit():
    data = digits()
    record = probe(MLP(3, 8, "tanh", seed=0), data.x_train[:32], data.y_train[:32])
    found = restored(json.loads(json.dumps(plain(record))), Record)
    assert found.layers == record.layers
    assert found.loss.tobytes() == record.loss.tobytes()
    assert found.histogram.tobytes() == record.histogram.tobytes()


@pytest.mark.parametrize("value", [{1, 2}, np.tanh, np.array([object()]), torch.zeros(2), [1, object()]])
def test_what_is_not_plain_is_refused(value):
    with pytest.raises(TypeError, match="expected numbers, texts, arrays or records"):
        plain(value)


@pytest.fixture
def calls() -> list[tuple[float, int]]:
    return []


@pytest.fixture
def measured(calls) -> Callable[[float, int], float]:
    def ratio(scale: float, seed: int = 0) -> np.ndarray:
        calls.append((scale, seed))
        return np.array([1.5, seed])

    return ratio


def folder_for(function: Callable, key: str, folder: Path) -> Path:
    (folder / "keys.json").write_text(json.dumps({f"{function.__module__}.{function.__qualname__}": key}))
    return folder


def test_a_call_is_computed_once_for_each_code_and_arguments(measured, calls, tmp_path):
    for key, expected in (("one", 2), ("one", 2), ("two", 4), ("one", 4)):
        kept = Kept(folder_for(measured, key, tmp_path)).cache(measured)  # as a new process would
        assert kept(0.1).tolist() == [1.5, 0]
        assert kept(0.1, seed=0).tolist() == [1.5, 0]
        assert kept(0.1, 3).tolist() == [1.5, 3]
        assert len(calls) == expected
    kept(0.2)
    assert calls[-1] == (0.2, 0)


def test_nothing_is_kept_without_a_folder_or_a_key(measured, calls, tmp_path):
    for kept in (Kept(None), Kept(tmp_path)):
        assert kept.cache(measured)(0.1).tolist() == kept.cache(measured)(0.1).tolist()
    assert len(calls) == 4
    assert list(tmp_path.iterdir()) == []


def test_a_call_with_a_function_is_computed_each_time(tmp_path):
    calls = []

    def apply(phi: Callable[[float], float]) -> float:
        calls.append(phi)
        return phi(2.0)

    kept = Kept(folder_for(apply, "one", tmp_path)).cache(apply)
    assert kept(math.sqrt) == kept(math.sqrt) == math.sqrt(2)
    assert len(calls) == 2


def test_the_first_result_is_of_the_same_type_as_those_that_are_read(tmp_path):
    def ratio(seed: int) -> float:
        return np.float32(0.1)

    kept = Kept(folder_for(ratio, "one", tmp_path)).cache(ratio)
    assert type(kept(0)) is type(kept(0)) is float
