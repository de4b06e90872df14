"""What each lab takes: its solution is run, cell by cell. Writes book/assets/labs.json. Linux and macOS."""

import json
import platform
import sys
from datetime import date
from pathlib import Path

import nbformat
import torch
from nbclient import NotebookClient
from tqdm import tqdm

from gradclinic.course.exercises import Lab, labs

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.runs import METER  # noqa: E402


def metered(lab: Lab) -> dict:
    """CPU seconds and peak memory of the solved notebook.

    The seconds of an exercise are those of its own two cells, the solution and its check. Memory is the most that
    the kernel held up to there, with PyTorch and the data in it: that is what has to fit.
    """
    path = ROOT / "solutions" / lab.name / f"{lab.name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    cells, places = [], []
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        cells += [nbformat.v4.new_code_cell(METER), cell] if name else [cell]
        if name:
            cells.append(nbformat.v4.new_code_cell(METER))
            places.append((name, len(cells) - 3, len(cells) - 1))
    notebook.cells = [*cells, nbformat.v4.new_code_cell(METER)]
    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],
        resources={"metadata": {"path": path.parent}},
    ).execute()

    def read(number: int) -> list[float]:
        return json.loads(notebook.cells[number].outputs[0].text)

    taken = {}
    for exercise in lab.exercises:
        own = [place for place in places if place[0].removeprefix("check-") == exercise.name]
        seconds = sum(read(after)[0] - read(before)[0] for _, before, after in own)
        peak = max(read(after)[1] for _, _, after in own)
        taken[exercise.id] = {"seconds": round(seconds, 2), "megabytes": round(peak / 1e6)}
    seconds, peak = read(-1)
    return {"seconds": round(seconds, 1), "megabytes": round(peak / 1e6), "exercises": taken}


def main() -> None:
    measured = {lab.name: metered(lab) for lab in tqdm(labs(), desc="labs", unit="lab")}
    kept = {
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "labs": measured,
    }
    target = ROOT / "book" / "assets" / "labs.json"
    part = target.with_suffix(".part")
    part.write_text(json.dumps(kept, indent=1) + "\n")
    part.replace(target)
    for name, lab in measured.items():
        print(f"{name}: {lab['seconds']:.1f} s of computing, {lab['megabytes']} MB")


if __name__ == "__main__":
    main()
