"""Measure anew all that takes long, and keep it in the repository with the hash of its code: `make measure`."""

import hashlib
import json
import shutil
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tools.imports import Place, sources

MEASURED_WITH = ("torch", "numpy")  # whose versions a measurement depends on
KEEPER = "gradclinic.course.audit.kept"  # what keeps measurements is no part of what they measure
WORTH = 0.2  # CPU seconds; a call that takes less is not kept in the repository


def keys(root: Path) -> dict[str, str]:
    """Of each function whose results are kept, by its full name, a hash of its code and of what it is computed with."""
    package = sources(root)
    pins = [f"{name}=={version(name).partition('+')[0]}" for name in MEASURED_WITH]
    found = {}
    for place in package.decorated(Place("gradclinic.course.audit.claims", "memory")):
        reached = {other for other in package.of_name(*place) if other.module != KEEPER}
        found[".".join(place)] = hashlib.sha256("\0".join([package.digest(reached), *pins]).encode()).hexdigest()[:16]
    return found


def folder(root: Path) -> Path:
    """Where pages, notebooks and tests look for what was measured before."""
    return root / "_build" / "measurements"


def kept(root: Path) -> Path:
    """Where the repository keeps measurements, a file for each function."""
    return root / "book" / "assets" / "measurements"


def prepare(root: Path, with_kept: bool = True) -> Path:
    """Lay out what fits today's code; what does not goes. Returns the folder, for ``GRADCLINIC_CACHE``."""
    fitting, target = keys(root), folder(root)
    for old in target.glob("*/"):
        if old.name not in fitting.values():
            shutil.rmtree(old, ignore_errors=True)
    for file in kept(root).glob("*.json") if with_kept else ():
        found = json.loads(file.read_text())
        if fitting.get(found["function"]) == found["key"]:
            for name, entry in found["entries"].items():
                place = target / found["key"] / f"{name}.json"
                if not place.exists():
                    write({"function": found["function"], **entry}, place)
    write(fitting, target / "keys.json")
    return target


def write(content: Any, file: Path, **layout: Any) -> None:
    """As JSON, all or nothing: another process may look for the file now."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{uuid.uuid4().hex}")
    beside.write_text(json.dumps(content, **layout))
    beside.replace(file)
