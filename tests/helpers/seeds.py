"""Twenty seeds, as many as the audit measures with."""

import pytest

ALL = range(20)
every_seed = pytest.mark.parametrize("seed", ALL)
