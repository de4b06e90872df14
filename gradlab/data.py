"""Real data that needs no download: the 1,797 handwritten digits inside scikit-learn."""

from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import Tensor


class Dataset(NamedTuple):
    """Inputs (float32, one row an example) and class labels (int64), for training and for testing."""

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
        ValueError: for a test_size not strictly between 0 and 1, or a seed that is not a whole number of at least 0.
    Source: Alpaydin & Kaynak 1998, the test part of their data, as in ``sklearn.datasets.load_digits``.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, got {seed!r}")
    if not isinstance(test_size, float) or not 0 < test_size < 1:
        raise ValueError(f"test_size must lie strictly between 0 and 1, got {test_size!r}")
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=test_size, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(x_train)
    return Dataset(
        torch.tensor(scaler.transform(x_train), dtype=torch.float32),
        torch.tensor(y_train, dtype=torch.int64),
        torch.tensor(scaler.transform(x_test), dtype=torch.float32),
        torch.tensor(y_test, dtype=torch.int64),
    )
