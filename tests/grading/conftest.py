"""A jail for the tests of this room."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest

from tests.helpers import absent
from tools.grading.jail import Jail, Limits
from tools.grading.syscalls import refusals


@pytest.fixture(scope="session")
def bubblewrap() -> None:
    if shutil.which("bwrap") is None:
        absent("bubblewrap")
    try:
        refusals()
    except OSError as error:
        absent(str(error))


@pytest.fixture(scope="module")
def jail(bubblewrap: None) -> Iterator[Jail]:
    """One that has time, however busy the machine is: for answers that come to an end by themselves."""
    with contextlib.closing(Jail(Limits(seconds=60, idle=600, wall=600))) as running:
        yield running
