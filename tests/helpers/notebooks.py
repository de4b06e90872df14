"""For nbval: it runs each notebook once, and what the run gave is kept for the other tests and for the book.

Named on the command line: pytest -p tests.helpers.notebooks --nbval-lax labs solutions
"""

import copy
import os
from collections import defaultdict

import nbformat
import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

from tools import book, measurements, runs

passed: dict[IPyNbFile, list[IPyNbCell]] = defaultdict(list)


def pytest_configure() -> None:
    measurements.prepare(book.ROOT)
    os.environ.update(book.environment(book.ROOT))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> object:
    result = yield  # an error goes on from here
    if isinstance(item, IPyNbCell):
        passed[item.parent].append(item)
        if len(passed[item.parent]) == sum(cell.cell_type == "code" for cell in item.parent.nb.cells):
            keep(item.parent)
    return result


def keep(file: IPyNbFile) -> None:
    """Run the added cells in the kernel of a notebook that has come to its end, and keep what all cells gave."""
    notebook = copy.deepcopy(file.nb)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell, item in zip(code, passed.pop(file), strict=True):
        cell.outputs = item.test_outputs
    for cell in runs.added(notebook):
        given = nbformat.v4.new_code_cell(cell.source)
        item = IPyNbCell.from_parent(file, name="added", cell_num=-1, cell=given, options=defaultdict(bool))
        item.runtest()
        cell.outputs = item.test_outputs
        notebook.cells.append(cell)
    runs.keep(file.path, notebook)
