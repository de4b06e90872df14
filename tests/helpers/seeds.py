"""Twenty seeds, as many as the audit measures with."""

import pytest

every_seed = pytest.mark.parametrize("seed", range(20))
