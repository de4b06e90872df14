"""What the package adds to ``import torch``, and what it makes somebody install beside torch and numpy.

    python benchmarks/import_time.py                # 15 rounds
    python benchmarks/import_time.py --rounds 9

Each round starts three fresh interpreters, in an order that turns: torch alone, torch alone again, and torch with the
package. The second is the control: how far it is from the first is the error. Sizes are those of the files of what is
installed here.
"""

import argparse
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tqdm import trange

ROOT = Path(__file__).resolve().parents[1]
OWN = ("gradclinic", "gradclinic/course")
AIM = 50  # milliseconds that the package may add
ALONE = "import torch"
WAYS = {ALONE: ALONE, "import torch, again": ALONE, "import torch, gradclinic": "import torch, gradclinic"}


# --- time ------------------------------------------------------------------------------------------------------------


def milliseconds(code: str) -> float:
    """How long a fresh interpreter takes for it, its own start not counted."""
    timed = f"import time; start = time.perf_counter(); {code}; print(time.perf_counter() - start)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", timed], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    )
    return 1000 * float(ended.stdout)


def measured(rounds: int) -> dict[str, list[float]]:
    """Way -> milliseconds, one a round."""
    for code in WAYS.values():
        milliseconds(code)  # compiles what is not compiled yet
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    names = list(WAYS)
    for number in trange(rounds, desc="rounds", disable=None):
        first = number % len(names)
        for way in names[first:] + names[:first]:
            taken[way].append(milliseconds(WAYS[way]))
    return taken


def times(taken: dict[str, list[float]]) -> Iterable[str]:
    yield f"{'':26}{'ms':>8}{'ratio':>8}{'adds ms':>9}"
    for way, values in taken.items():
        ratio = statistics.median(value / alone for value, alone in zip(values, taken[ALONE], strict=True))
        adds = statistics.median(value - alone for value, alone in zip(values, taken[ALONE], strict=True))
        yield f"{way:26}{statistics.median(values):8.0f}{ratio:8.3f}{adds:9.0f}"
    yield f"Medians; ratio and difference within a round. The package may add {AIM} ms."


# --- size ------------------------------------------------------------------------------------------------------------


def needed(requirements: Iterable[str]) -> set[str]:
    """Names of the distributions that these lines ask for, and of all that those ask for in turn."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        if name in found or not (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        waiting += importlib.metadata.requires(name) or []
    return found


def megabytes(names: Iterable[str]) -> float:
    files = [Path(file.locate()) for name in names for file in importlib.metadata.files(name) or []]
    return sum(file.stat().st_size for file in files if file.exists()) / 1e6


def sizes() -> Iterable[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    given = needed(["torch", "numpy"])
    yield f"{'':26}{'others':>8}{'MB':>8}"
    yield f"{'torch and numpy':26}{len(given) - 2:8}{megabytes(given):8.0f}"
    for name, extra in (("pip install .", []), ('pip install ".[course]"', project["optional-dependencies"]["course"])):
        more = needed([*project["dependencies"], *extra]) - given
        yield f"{name:26}{f'+{len(more)}':>8}{f'+{megabytes(more):.0f}':>8}  {', '.join(sorted(more))}"
    own, course = (sum(f.stat().st_size for f in (ROOT / part).rglob("*.py")) / 1e6 for part in OWN)
    yield f"The package itself: {own:.1f} MB, of which the course {course:.1f}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch = importlib.metadata.version("torch")
    print(f"Python {platform.python_version()}, torch {torch}, {options.rounds} rounds\n")
    print("\n".join(times(measured(options.rounds))), end="\n\n")
    print("\n".join(sizes()))


if __name__ == "__main__":
    main()
