"""Measurements that the repository keeps, each with the hash of the code that made it.

A kept measurement counts only while that hash fits: of the code that it reaches, and of the versions of PyTorch and
numpy. What does not fit is computed where it is needed. And so that nothing edited by hand can stand, `make test`
computes a few anew, drawn by the commit, and `make measure` all of them.

Trainings of deep networks are chaotic: a sum that is rounded otherwise in the first step is another loss curve at the
end. So what is kept is measured, and compared, with the arithmetic that every x86 processor has in common.
"""

import ast
import hashlib
import json
import random
import shutil
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tools.imports import Place, sources

MARK = Place("gradclinic.course.audit.claims", "memory")  # what decorates each function whose results are kept
# What keeps, and the verdict and its advice: a recorder can be asked for one in the middle of a training, and no
# measurement that is kept asks.
APART = ("gradclinic.course.audit.kept", "gradclinic.diagnosis", "gradclinic.remedies", "gradclinic.rules")
MEASURED_WITH = ("torch", "numpy")

# For the environment, before PyTorch is loaded: no instructions that only some processors have, and one thread, since
# a sum that several threads share is rounded in another order.
PORTABLE = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OMP_NUM_THREADS": "1",
}


def keys(root: Path) -> dict[str, str]:
    """Of each function whose results are kept, by its full name, a hash of its code and of what it is computed with."""
    package = sources(root)
    pins = [f"{name}=={version(name).partition('+')[0]}" for name in MEASURED_WITH]
    found = {}
    for place in package.decorated(MARK):
        reached = {other for other in package.of_name(*place) if not apart(other)}
        found[".".join(place)] = hashlib.sha256("\0".join([package.digest(reached), *pins]).encode()).hexdigest()[:16]
    return found


def trained(root: Path) -> set[str]:
    """Functions in which an optimiser takes steps, by their full names."""
    package = sources(root)

    def steps(place: Place) -> bool:
        module = package.module(place.module) if place.module.startswith("gradclinic.course.") else None
        return module is not None and any(".step(" in ast.unparse(part) for part in module.defined.get(place.name, []))

    return {".".join(place) for place in package.decorated(MARK) if any(map(steps, package.of_name(*place)))}


def apart(place: Place) -> bool:
    """Whether a place is no part of what is measured."""
    return any(place.module == module or place.module.startswith(f"{module}.") for module in APART)


def folder(root: Path) -> Path:
    """Where pages, notebooks and tests look for what was measured before."""
    return root / "_build" / "measurements"


def kept(root: Path) -> Path:
    """Where the repository keeps measurements: a file for each function."""
    return root / "measurements"


def fitting(root: Path) -> list[dict[str, Any]]:
    """What the repository keeps of functions whose code is still what it was: the contents of their files."""
    today = keys(root)
    found = [json.loads(file.read_text()) for file in sorted(kept(root).glob("*.json"))]
    return [content for content in found if today.get(content["function"]) == content["key"]]


def prepare(root: Path, with_kept: bool = True) -> Path:
    """Lay out what fits today's code, and remove what does not. Returns the folder, for ``GRADCLINIC_CACHE``."""
    today, target = keys(root), folder(root)
    for old in target.glob("*/"):
        if old.name not in today.values():
            shutil.rmtree(old, ignore_errors=True)
    for content in fitting(root) if with_kept else ():
        for name, entry in content["entries"].items():
            place = target / content["key"] / f"{name}.json"
            text = json.dumps({"function": content["function"], **entry})
            if not place.exists() or place.read_text() != text:  # what is kept goes before what this machine gave
                write(text, place)
    write(json.dumps(today), target / "keys.json")
    return target


def write(text: str, file: Path) -> None:
    """All or nothing: another process may look for the file now."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{uuid.uuid4().hex}")
    beside.write_text(text)
    beside.replace(file)


def drawn(root: Path, by: str, seconds: float) -> list[tuple[str, dict[str, Any]]]:
    """A few of the fitting entries, each with the name of its function. Which ones, a text decides.

    Args:
        root: the folder of the project.
        by: such as the hash of a commit.
        seconds: of computing, as it was when they were measured; the last one drawn may go beyond.
    """
    entries = [(content["function"], entry) for content in fitting(root) for entry in content["entries"].values()]
    random.Random(by).shuffle(entries)
    found, spent = [], 0.0
    for function, entry in entries:
        if spent >= seconds:
            break
        found.append((function, entry))
        spent += entry["seconds"]
    return found
