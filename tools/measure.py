"""Measure anew all that takes long, and keep it in the repository: `make measure`.

python -m tools.measure                 execute every page and every lab from scratch, and keep what they measured
python -m tools.measure --missing       only what is not kept, or whose code has changed
python -m tools.measure --drawn TEXT    compute a few kept results anew, which ones this text decides, and compare

A page that is executed afterwards shows the kept numbers. Numbers that agree with those kept before stay as they are.
"""

import argparse
import importlib
import json
import math
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import torch

from gradclinic.course.audit.claims import memory
from gradclinic.course.audit.kept import restored
from gradclinic.record import Record
from tools import book, measurements

WORTH = 0.2  # CPU seconds; a call that takes less is not kept in the repository,
DENSITY = 2.5e-4  # nor one that takes fewer CPU seconds for each byte
TOLERANCE = 1e-6  # of ``apart``; on x86 results were the same to the last bit, but for single sums in float64
PATIENCE = 3600  # seconds for one cell, which computes here what elsewhere it reads
FINGERPRINT = "gradclinic.course.audit.league.treated"  # keeps a digest of trained weights
SECONDS = 12  # of computing, for those that are drawn
COMMON = "gradclinic.course.audit."  # left out of the names of files


def function(name: str) -> Any:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def again(name: str, given: dict[str, Any]) -> Any:
    """What a measurement gives when it is computed here and now, with all that it rests on."""
    folder, memory.folder = memory.folder, None
    try:
        return function(name)(**given)
    finally:
        memory.folder = folder


def read(name: str, result: Any) -> Any:
    """What a measurement gave when it was kept."""
    return restored(result, get_type_hints(function(name))["return"])


def apart(one: Any, other: Any) -> float:
    """How far apart two results lie: the largest difference between numbers, over the largest number of their array.

    inf if they differ in form, in a text, or in what is inf or NaN.
    """
    if isinstance(other, Record):
        one, other = tuple(vars(one).values()), tuple(vars(other).values())
    if isinstance(other, tuple):
        return max(map(apart, one, other), default=0.0) if len(one) == len(other) else math.inf
    if isinstance(other, (str, type(None))):
        return 0.0 if one == other else math.inf
    numbers = [np.asarray(value, dtype=np.float64) for value in (one, other)]
    if numbers[0].shape != numbers[1].shape:
        return math.inf
    odd = [np.where(np.isfinite(array), 0.0, array) for array in numbers]
    if not np.array_equal(*odd, equal_nan=True):
        return math.inf
    finite = [array[np.isfinite(array)] for array in numbers]
    largest = max(np.abs(array).max(initial=0.0) for array in finite)
    return float(np.abs(finite[0] - finite[1]).max(initial=0.0) / largest) if largest else 0.0


def long_ones(root: Path) -> dict[str, dict[str, Any]]:
    """What was measured and took long, by the name of each function: what the repository should keep of it."""
    keys = measurements.keys(root)
    found: dict[str, dict[str, Any]] = {}
    stays = {(content["function"], call) for content in measurements.fitting(root) for call in content["entries"]}
    for file in sorted(measurements.folder(root).glob("*/*.json")):
        entry = json.loads(file.read_text())
        name = entry.pop("function")
        # what is kept stays, so that a quicker or a slower machine does not make another choice
        worth = max(WORTH, DENSITY * file.stat().st_size) * (2 if any(name == function for function, _ in stays) else 1)
        if (name, file.stem) in stays or entry["seconds"] >= worth:
            found.setdefault(name, {"function": name, "key": keys[name], "entries": {}})["entries"][file.stem] = entry
    return found


def merged(new: dict[str, Any], old: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """New content of a file, with old results where they agree; a sentence for each that the same code did not give."""
    entries, said = {}, []
    for call, entry in new["entries"].items():
        entries[call] = before = old["entries"].get(call, entry)
        distance = apart(read(new["function"], before["result"]), read(new["function"], entry["result"]))
        if distance > TOLERANCE:
            entries[call] = entry
            if old["key"] == new["key"]:
                said.append(f"{new['function']} of {entry['given']} was kept with other numbers, {distance:.1g} apart")
    return {**new, "entries": entries}, said


def measure(root: Path, missing: bool = False) -> bool:
    """Execute everything from scratch, or only what is ``missing``, and write what the repository should keep.

    Returns whether all went well, and whatever the same code had given before came out again.
    """
    for made in () if missing else (".jupyter_cache", "runs", "measurements"):
        shutil.rmtree(root / "_build" / made, ignore_errors=True)
    measurements.prepare(root, with_kept=missing)
    if not book.execute(root, timeout=PATIENCE, patience=10 * PATIENCE):
        return False
    target, said, calls, size = measurements.kept(root), [], 0, 0
    found = {target / f"{name.removeprefix(COMMON)}.json": new for name, new in long_ones(root).items()}
    for file in set(target.glob("*.json")) - set(found):
        file.unlink()
    for file, new in found.items():
        content, different = merged(new, json.loads(file.read_text())) if file.exists() else (new, [])
        lines = [f"{json.dumps(call)}: {json.dumps(entry)}" for call, entry in content["entries"].items()]
        head = json.dumps({**content, "entries": None}).removesuffix("null}")
        measurements.write(head + "{\n" + ",\n".join(lines) + "\n}}\n", file)
        said, calls, size = said + different, calls + len(lines), size + file.stat().st_size
    print(*said, sep="\n")
    print(f"{target.relative_to(root)} keeps {calls} results in {size / 1e6:.1f} MB. Commit what `git status` names.")
    return not said


def rounds_alike(root: Path) -> bool:
    """Whether this processor trains a network to the same last bit as the one that measured: its weights are known.

    One rounding that differs is another training after some hundred steps, and no sum says by how much.
    """
    for content in measurements.fitting(root):
        if content["function"] == FINGERPRINT:
            entry = min(content["entries"].values(), key=lambda one: one["seconds"])
            same: bool = again(FINGERPRINT, entry["given"]).digest == read(FINGERPRINT, entry["result"]).digest
            return same
    return True


def draw(root: Path, by: str) -> bool:
    """Compute a few kept results anew and print how far apart they are. Returns whether all agree.

    On a processor that rounds otherwise, what comes of a training is left out.
    """
    fine, left_out = True, set() if rounds_alike(root) else measurements.trained(root)
    if left_out:
        print("This processor rounds otherwise than the one that measured, so no training is compared.")
    for name, entry in measurements.drawn(root, by, SECONDS):
        if name in left_out:
            continue
        distance = apart(again(name, entry["given"]), read(name, entry["result"]))
        print(f"{distance:.1g} apart: {name} of {entry['given']}")
        fine &= distance <= TOLERANCE
    return fine


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--missing", action="store_true", help="measure only what is not kept")
    parser.add_argument("--drawn", metavar="TEXT", help="compare a few that are kept; which ones, this text decides")
    arguments = parser.parse_args()
    if platform.machine() not in ("x86_64", "AMD64"):
        sys.exit(f"Kept results are those of x86 processors; this is {platform.machine()}, which rounds otherwise.")
    if not os.environ.items() >= measurements.PORTABLE.items():  # PyTorch is loaded already, so begin again
        command = [sys.executable, "-m", "tools.measure", *sys.argv[1:]]
        sys.exit(subprocess.run(command, check=False, env=os.environ | measurements.PORTABLE).returncode)
    torch.set_num_threads(1)
    fine = measure(book.ROOT, arguments.missing) if arguments.drawn is None else draw(book.ROOT, arguments.drawn)
    sys.exit(not fine)
