"""Data that needs no download: the 1,797 handwritten digits inside scikit-learn, the adding problem, a text."""

import hashlib
import math
from importlib.resources import files
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from gradclinic.arguments import number, whole


class Dataset(NamedTuple):
    """Inputs (float32, one row an example) and targets, for training and for testing.

    Targets are class labels (int64), or numbers (float32) to be met in the mean square.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor


def digits(seed: int = 0, test_size: float = 0.25) -> Dataset:
    """8x8 grey images of handwritten digits, flattened to 64 numbers.

    Each pixel is standardised by the mean and deviation of the training images; a pixel that never varies becomes 0.

    Args:
        seed: of the stratified split.
        test_size: share of the 1,797 images held back for testing, between 0 and 1.
    Returns:
        A ``Dataset``: x of shape (examples, 64), dimensionless; y of shape (examples,), classes 0 to 9.
    Raises:
        ValueError: for a test_size that is not between 0 and 1, or a negative seed.
        TypeError: for a test_size that is no number, or a seed that is no integer.
    Source: Alpaydin & Kaynak 1998, the test part of their data, as in ``sklearn.datasets.load_digits``.
    """
    seed, share = whole("seed", seed, 0), number("test_size", test_size, -math.inf)
    if not 0 < share < 1:
        raise ValueError(f"test_size must lie strictly between 0 and 1, got {test_size!r}")
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=share, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(x_train)
    return Dataset(
        torch.tensor(scaler.transform(x_train), dtype=torch.float32),
        torch.tensor(y_train, dtype=torch.int64),
        torch.tensor(scaler.transform(x_test), dtype=torch.float32),
        torch.tensor(y_test, dtype=torch.int64),
    )


def sequential_digits(seed: int = 0, test_size: float = 0.25) -> Dataset:
    """The images of ``digits`` read pixel by pixel, row after row: x of shape (examples, 64, 1).

    Raises:
        ValueError, TypeError: as ``digits``.
    """
    held = digits(seed, test_size)
    return held._replace(x_train=held.x_train.unsqueeze(2), x_test=held.x_test.unsqueeze(2))


def adding_problem(length: int, examples: int = 4096, seed: int = 0) -> Dataset:
    """Add the two marked numbers of a sequence: one mark lies in its first half, the other in its second.

    Args:
        length: time steps T, at least 2.
        examples: for training, at least 1; a quarter as many (at least 1) are made for testing.
        seed: of the numbers and marks.
    Returns:
        A ``Dataset``: x of shape (examples, T, 2), a number from 0 to 1 and a mark of 0 or 1 at each step; y of shape
        (examples,), the sum. Answering always 1 gives a mean squared error of 1/6.
    Raises:
        ValueError: for a length below 2, fewer than 1 example, or a negative seed.
        TypeError: for one of them that is no integer.
    Source: Hochreiter & Schmidhuber 1997, section 5.4, marks as in Arjovsky et al. 2016, section 5.1.
    """
    length, examples = whole("length", length, 2), whole("examples", examples)
    generator = torch.Generator().manual_seed(whole("seed", seed, 0))

    def draw(count: int) -> tuple[Tensor, Tensor]:
        numbers = torch.rand(count, length, generator=generator)
        places = torch.stack(
            [
                torch.randint(0, length // 2, (count,), generator=generator),
                torch.randint(length // 2, length, (count,), generator=generator),
            ],
            dim=1,
        )
        marks = torch.zeros(count, length).scatter_(1, places, 1.0)
        return torch.stack([numbers, marks], dim=2), numbers.gather(1, places).sum(1)

    return Dataset(*draw(examples), *draw(max(examples // 4, 1)))


class Text(NamedTuple):
    """A text as numbers (int64), each the place of a character in ``characters``; its end is held back for testing."""

    train: Tensor
    test: Tensor
    characters: str


PROSE = "8cbe8828b10f9e46"  # the beginning of its hash: what was measured with the text is of this text


def prose(test_size: float = 0.1) -> Text:
    """Sentences of this course as they were when it got its Transformers, in small letters: 59,000 characters.

    Args:
        test_size: share of the text held back for testing, between 0 and 1.
    Raises:
        ValueError: for a test_size that is not between 0 and 1.
        TypeError: for a test_size that is no number.
    """
    share = number("test_size", test_size, -math.inf)
    if not 0 < share < 1:
        raise ValueError(f"test_size must lie strictly between 0 and 1, got {test_size!r}")
    content = files("gradclinic.course").joinpath("prose.txt").read_bytes()
    if not hashlib.sha256(content).hexdigest().startswith(PROSE):
        raise ValueError("prose.txt is another text than the one that was measured with")
    text = content.decode("ascii")
    characters = "".join(sorted(set(text)))
    codes = torch.tensor([characters.index(character) for character in text])
    held_back = round(len(text) * share)
    return Text(codes[:-held_back], codes[-held_back:], characters)
