"""The notebooks of the labs: made from their sources, and tried as a learner does: blank, wrong, right."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from gradclinic.course.exercises import labs
from tests.helpers import ROOT
from tools import labs as tool
from tools import runs

LABS = {lab.name: lab for lab in labs()}

every_lab = pytest.mark.parametrize("name", LABS)


def read(kind: str, name: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / kind / name / f"{name}.ipynb", as_version=4)


def _lines(notebook: nbformat.NotebookNode) -> list[str]:
    return [line for cell in notebook.cells for line in cell.source.splitlines()]


def said(cells: list[nbformat.NotebookNode], exercise: str) -> str:
    (cell,) = [cell for cell in cells if cell.metadata.get("nbgrader", {}).get("grade_id") == f"check-{exercise}"]
    return "".join(output.get("text", "") for output in cell.outputs)


def test_every_lab_has_a_source_and_every_source_exercises():
    assert tool.names() == list(LABS)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all labs as nbgrader makes them today."""
    folder = tmp_path_factory.mktemp("generated")
    tool.generate("*", folder)
    return folder


@pytest.mark.notebook
@every_lab
def test_labs_are_what_their_sources_generate(name, generated):
    made, kept = nbformat.read(generated / name / f"{name}.ipynb", as_version=4), read("labs", name)
    for cell in (*made.cells, *kept.cells):
        if cell.cell_type == "code":  # nbval compares what they print
            cell.outputs, cell.execution_count = [], None
    assert nbformat.writes(tool.stripped(made)) == nbformat.writes(kept), "run `make labs`"


@pytest.mark.parametrize("kind", ["labs", "solutions"])
@every_lab
def test_formulas_have_their_backslashes_once(kind, name):
    text = "".join(cell.source for cell in read(kind, name).cells if cell.cell_type == "markdown")
    formulas = re.findall(r"\$\$.+?\$\$|\$[^$]+\$", text, re.DOTALL)
    assert not [formula for formula in formulas if re.search(r"\\\\[a-zA-Z]", formula)]


@every_lab
def test_blanks_hold_no_solution_and_solutions_no_blank(name):
    blank, solved = ([c for c in read(kind, name).cells if c.cell_type == "code"] for kind in ("labs", "solutions"))
    assert len(blank) == len(solved)
    for one, other in zip(blank, solved, strict=True):
        if one.metadata.get("nbgrader", {}).get("solution"):
            assert "raise NotImplementedError()" in one.source
            assert "SOLUTION" not in one.source
            assert "### BEGIN SOLUTION" in other.source
            assert "NotImplementedError" not in other.source
        else:
            assert one.source == other.source


@every_lab
def test_cells_match_the_exercises(name):
    cells = [cell.metadata.nbgrader for cell in read("labs", name).cells if "nbgrader" in cell.metadata]
    checks = {cell.grade_id.removeprefix("check-"): cell.points for cell in cells if cell.grade and not cell.solution}
    blanks = [cell.grade_id for cell in cells if cell.solution and not cell.grade]
    essays = {cell.grade_id: cell.points for cell in cells if cell.solution and cell.grade}
    assert checks == {exercise.name: exercise.points for exercise in LABS[name].exercises}
    assert blanks == list(checks)
    assert essays == {essay.name: essay.points for essay in LABS[name].essays}
    assert len(cells) == len(checks) + len(blanks) + len(essays)


ESSAYS = [(name, essay) for name, lab in LABS.items() for essay in lab.essays]


@pytest.mark.parametrize(("name", "essay"), ESSAYS, ids=lambda value: getattr(value, "id", None))
def test_a_learner_gets_the_rubric_of_an_essay_and_not_its_answer(name, essay):
    def written(kind):
        (cell,) = [c for c in read(kind, name).cells if c.metadata.get("nbgrader", {}).get("grade_id") == essay.name]
        return cell

    blank, solved = written("labs"), written("solutions")
    assert blank.cell_type == solved.cell_type == "markdown"
    assert not blank.metadata.nbgrader.locked
    assert blank.source == "YOUR ANSWER HERE"
    lines = solved.source.splitlines()
    assert lines[0] == "### BEGIN SOLUTION"
    assert lines[-1] == "### END SOLUTION"
    given_out = "\n".join(cell.source for cell in read("labs", name).cells)
    assert not [line for line in lines if line.strip() and line in given_out]
    table = [f"| {c.name} | {c.points} | {c.full} | {c.half} |" for c in essay.rubric]
    assert [line for line in _lines(read("labs", name)) if line in table] == table


def test_each_lab_of_the_capstone_has_an_essay():
    assert [name for name, _ in ESSAYS] == ["10-rescue", "11-your-own-instrument"]


@pytest.mark.parametrize("kind", ["labs", "solutions"])
@every_lab
def test_marked_cells_hold_what_nbval_compares(name, kind):
    marked = [cell for cell in read(kind, name).cells if tool.CHECKED in cell.source]
    assert len(marked) >= 3
    for cell in marked:
        assert cell.source.startswith(tool.CHECKED)
        assert cell.execution_count is not None
        assert cell.outputs
    for cell in read(kind, name).cells:
        if cell.cell_type == "code" and cell not in marked:
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.notebook
@every_lab
def test_right_answers_tick_within_a_minute_and_a_gigabyte(name):
    solved = runs.run(ROOT / "solutions" / name / f"{name}.ipynb")
    seconds, peak = json.loads(solved.cells[-1].outputs[0].text)
    assert seconds < 60, "of computing; how long it takes depends on what else the machine does"
    assert 1e8 < peak < 1e9
    for exercise in LABS[name].exercises:
        assert said(solved.cells, exercise.name) == f"✓ {exercise.name}: Right.\n"


@pytest.mark.notebook
@every_lab
def test_blank_and_wrong_answers_get_their_line_and_the_lab_runs_on(name):
    notebook = read("labs", name)
    run = runs.run(ROOT / "labs" / name / f"{name}.ipynb")  # an error in any cell would have raised there
    own = len(notebook.cells)
    for exercise in LABS[name].exercises:
        mistake = exercise.mistakes[0]
        assert said(run.cells[:own], exercise.name) == f"○ {exercise.name}: Not attempted yet.\n"
        wrong = f"✗ {exercise.name} ({mistake.name}): {mistake.hint}\n"
        assert said(run.cells[own:], exercise.name) == wrong


@pytest.mark.notebook
@every_lab
def test_a_wrong_answer_changes_no_output_that_is_compared(name):
    """Ours runs in its place, so what an experiment shows is the same; only the line that says whose it is differs."""
    run = runs.run(ROOT / "labs" / name / f"{name}.ipynb")
    first: dict[str, str] = {}
    for cell in run.cells:
        if cell.cell_type == "code" and tool.CHECKED in cell.source:
            printed = "".join(output.get("text", "") for output in cell.outputs)
            assert first.setdefault(cell.source, printed) == printed


@every_lab
def test_what_a_learner_writes_is_what_an_experiment_runs(name):
    cells = [cell for cell in read("labs", name).cells if cell.cell_type == "code"]
    for exercise in LABS[name].exercises:
        (place,) = [n for n, cell in enumerate(cells) if f"check.{exercise.name}.use({exercise.name})" in cell.source]
        (check,) = [n for n, cell in enumerate(cells) if f"check.{exercise.name}({exercise.name})" in cell.source]
        assert check < place
        line = next(line for line in cells[place].source.splitlines() if f"check.{exercise.name}.use(" in line)
        used = line.partition(" = ")[0]
        after = "\n".join(cell.source for cell in cells[place:])
        assert len(re.findall(rf"\b{used}\b", after)) > 1, "and it runs"


@every_lab
def test_what_is_compared_is_the_same_whoever_answered(name):
    """But for the line that says whose function runs."""

    def compared(kind: str) -> list[list[str]]:
        return [
            [
                line
                for output in cell.outputs
                for line in output.get("text", "").splitlines()
                if not line.startswith("▸")
            ]
            for cell in read(kind, name).cells
            if tool.CHECKED in cell.source
        ]

    assert compared("labs") == compared("solutions")


@every_lab
def test_a_lab_asks_for_a_prediction_once_before_it_shows(name):
    cells = [cell for cell in read("labs", name).cells if cell.cell_type == "code"]
    assert sum(bool(re.search(r"^predict\(", cell.source, re.MULTILINE)) for cell in cells) == 1


@pytest.mark.notebook
@every_lab
def test_without_a_kernel_a_prediction_is_a_sentence(name):
    run = runs.run(ROOT / "solutions" / name / f"{name}.ipynb")
    (output,) = [
        output
        for cell in run.cells
        for output in cell.get("outputs", ())
        if "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    ]
    assert output.data["text/html"].startswith('<p class="gradclinic-predict">')


@every_lab
def test_a_lab_checks_the_answers_of_its_own_exercises(name):
    lines = [line for cell in read("labs", name).cells for line in cell.source.splitlines()]
    imports = [line for line in lines if re.match(r"from gradclinic\.course\.exercises\..*\bcheck\b", line)]
    (module,) = {line.split()[1] for line in imports}
    assert importlib.import_module(module).check == LABS[name]


def test_what_names_an_answer_runs_again_with_a_wrong_one():
    def code(source: str, **nbgrader: object) -> nbformat.NotebookNode:
        return nbformat.v4.new_code_cell(source, metadata={"nbgrader": nbgrader} if nbgrader else {})

    def lab(answer: str) -> nbformat.NotebookNode:
        cells = [
            code("%pip install x\nimport torch"),
            code(f"def step(x):\n    {answer}", solution=True, grade_id="step"),
            code("check.step(step)", solution=False, grade_id="check-step"),
            code("optimizer.step()"),
            code("def yours(x):\n    return step(x)"),
            code("used = check.step.use(step)"),
            code("NBVAL = used(2)"),
            nbformat.v4.new_markdown_cell("A step."),
            code("print(yours(1))"),
        ]
        return nbformat.v4.new_notebook(cells=cells)

    blank = [cell.source for cell in runs.added(lab("raise NotImplementedError()  # your code here"))]
    assert blank[0] == "step = check.exercises[0].mistakes[0].function"
    assert blank[1:3] == ["check.step(step)", "def yours(x):\n    return step(x)"]
    assert blank[3:] == ["used = check.step.use(step)", "NBVAL = used(2)", "print(yours(1))"]
    assert [cell.source for cell in runs.added(lab("return x"))] == [runs.METER]


def test_a_run_is_kept_until_what_it_rests_on_changes(tmp_path):
    (tmp_path / "requirements.txt").write_text("torch==1\n")
    path = tmp_path / "solutions" / "01-lab" / "01-lab.ipynb"
    path.parent.mkdir(parents=True)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("6 * 7")])
    nbformat.write(notebook, path)
    assert runs.kept(path) is None
    notebook.cells += runs.added(notebook)
    runs.keep(path, notebook)
    assert runs.kept(path) is not None
    (tmp_path / "requirements.txt").write_text("torch==2\n")
    assert runs.kept(path) is None
    runs.keep(path, notebook)
    assert runs.kept(path) is not None
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("6 * 8")]), path)
    assert runs.kept(path) is None


@pytest.mark.notebook
def test_nbval_fails_when_a_stored_output_is_not_what_the_cell_prints(tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(f"{tool.CHECKED}\nprint(6 * 7)")],
        metadata={"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    )
    path = tmp_path / "lab.ipynb"
    notebook = runs.execute(notebook, tmp_path)
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", "-q"]
    codes = []
    for stored in ("42\n", "43\n"):
        notebook.cells[0].outputs[0].text = stored
        runs.write(notebook, path)
        codes.append(subprocess.run([*command, str(path)], check=False, cwd=tmp_path, capture_output=True).returncode)
    assert codes == [0, 1]
