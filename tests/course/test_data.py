"""The digits are the real ones, split fairly, and scaled by what training may know."""

import pytest
import torch
from sklearn.datasets import load_digits

from gradclinic.course.data import adding_problem, digits, sequential_digits


@pytest.fixture(scope="module")
def data():
    return digits()


def test_shapes_and_types_are_what_a_classifier_takes(data):
    assert data.x_train.shape == (1347, 64), "a quarter of 1,797 is held back"
    assert data.x_test.shape == (450, 64), "a quarter of 1,797 is held back"
    assert data.y_train.shape == (1347,), "one label an image"
    assert data.y_test.shape == (450,), "one label an image"
    assert data.x_train.dtype == data.x_test.dtype == torch.float32, "images are float32"
    assert data.y_train.dtype == data.y_test.dtype == torch.int64, "labels are int64, as cross_entropy wants them"


def test_every_image_is_used_once_and_keeps_its_label(data):
    raw, truth = load_digits(return_X_y=True)
    raw = torch.tensor(raw)
    together, labels = torch.cat([data.x_train, data.x_test]).double(), torch.cat([data.y_train, data.y_test])
    # Scaling keeps each pixel's order, so its smallest and largest value undo it, with no help from the scaler.
    low, high = together.min(0).values, together.max(0).values
    span = torch.where(high > low, high - low, torch.ones_like(high))
    lowest, highest = raw.min(0).values, raw.max(0).values
    undone = ((together - low) / span * (highest - lowest) + lowest).round().int()
    label_of = dict(zip((tuple(row) for row in raw.int().tolist()), truth.tolist(), strict=True))
    assert len(label_of) == 1797, "no image occurs twice, so an overlap would show"
    found = [tuple(row) for row in undone.tolist()]
    assert sorted(found) == sorted(label_of), "the two parts together must be the 1,797 images, each once"
    assert [label_of[image] for image in found] == labels.tolist(), "each image must keep its own label"


def test_training_pixels_have_mean_zero_and_deviation_one_or_never_vary(data):
    x = data.x_train.double()
    assert x.mean(0).abs().max() < 1e-6, "every pixel must be centred on the training images"
    std = x.std(0, correction=0)
    constant = std == 0
    assert torch.allclose(std[~constant], torch.ones_like(std[~constant]), atol=1e-5), "and have deviation 1"
    assert constant.any(), "a pixel that never varies becomes 0"
    assert not x[:, constant].any(), "a pixel that never varies becomes 0"
    assert torch.isfinite(data.x_test).all(), "and does not make the test images infinite"


def test_test_images_are_scaled_by_the_training_images_only(data):
    x = data.x_test.double()
    assert x.mean(0).abs().max() > 1e-3, "centred test images would mean that the scaler had seen them"


def test_the_split_is_stratified(data):
    shares = [torch.bincount(y, minlength=10) / len(y) for y in (data.y_train, data.y_test)]
    gap = (shares[0] - shares[1]).abs().max().item()
    assert gap < 0.003, f"each class must have the same share in both parts; one differs by {gap:.3f}"


def test_a_seed_decides_the_split():
    first, again, other = digits(1), digits(1), digits(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True)), "the same seed, the same split"
    assert not torch.equal(first.y_train, other.y_train), "another seed, another split"


def test_the_share_held_back_is_the_one_asked_for():
    assert len(digits(test_size=0.5).x_test) == 899, "half of 1,797, rounded up"


def test_the_global_generators_are_left_alone():
    before = torch.get_rng_state()
    digits(4)
    assert torch.equal(torch.get_rng_state(), before), "loading data must not draw from torch's generator"


def test_sequential_digits_are_the_digits_one_pixel_at_a_time(data):
    read = sequential_digits()
    assert read.x_train.shape == (1347, 64, 1)
    assert read.x_test.shape == (450, 64, 1)
    assert torch.equal(read.x_test.squeeze(2), data.x_test)
    assert torch.equal(read.y_train, data.y_train)


@pytest.mark.parametrize("length", [2, 3, 50])
def test_the_adding_problem_marks_one_number_in_each_half(length):
    held = adding_problem(length, examples=2000, seed=3)
    assert held.x_train.shape == (2000, length, 2)
    assert held.x_test.shape == (500, length, 2)
    numbers, marks = held.x_train.unbind(2)
    assert ((marks == 0) | (marks == 1)).all()
    assert (marks[:, : length // 2].sum(1) == 1).all()
    assert (marks[:, length // 2 :].sum(1) == 1).all()
    assert (marks.sum(0) > 0).all(), "every place must be marked sometimes"
    assert torch.allclose((numbers * marks).sum(1), held.y_train)
    # two uniform numbers: the variance of the sum is 2 / 12, whatever the places
    assert held.y_train.var().item() == pytest.approx(1 / 6, rel=0.1)


def test_a_seed_decides_the_adding_problem():
    first, again, other = (adding_problem(8, 64, seed) for seed in (0, 0, 1))
    assert torch.equal(first.x_train, again.x_train)
    assert torch.equal(first.y_test, again.y_test)
    assert not torch.equal(first.x_train, other.x_train)
    assert not torch.equal(first.x_train[:16], first.x_test), "training and test examples must differ"
