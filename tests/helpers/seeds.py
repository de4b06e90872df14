"""Twenty seeds, as many as the audit measures with; and a few of them, for what takes long."""

import os
import random
import subprocess

import pytest

from tests.helpers import ROOT

ALL = range(20)
every_seed = pytest.mark.parametrize("seed", ALL)


def some(count: int) -> list[int]:
    """``count`` of the twenty seeds, which ones the commit decides; all of them where SEEDS=all, as once a week."""
    if os.environ.get("SEEDS") == "all":
        return list(ALL)
    found = subprocess.run(["git", "rev-parse", "HEAD"], check=False, cwd=ROOT, capture_output=True, text=True)
    return sorted(random.Random(found.stdout.strip()).sample(ALL, count))
