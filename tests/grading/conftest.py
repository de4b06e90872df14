"""A jail for the tests of this room."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest

from tests.helpers import absent
from tools.grading.jail import Jail


@pytest.fixture(scope="session")
def bubblewrap() -> None:
    if shutil.which("bwrap") is None:
        absent("bubblewrap")


@pytest.fixture(scope="module")
def jail(bubblewrap: None) -> Iterator[Jail]:
    """One with the limits of every day."""
    with contextlib.closing(Jail()) as running:
        yield running
