"""Where a learner's answers come from, beside the cell that a person reads, and what the notebook says of itself."""

import functools
import pickle
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import nbformat

from tools.grading import plain
from tools.grading.jail import Jail

# Trusted code that takes the learner's as text: that is parsed in there, where it harms nobody, and not run
LOOK = "from tools.grading.cells import looked_at as look"
RIGHT = re.compile(r"^✓ (\w{1,60}): Right\.", re.MULTILINE)


# What takes a function apart, looks into another's names, or gives an operator another meaning.
INSIDE = re.compile(
    r"__(?:globals|code|closure|setattr)__|\bf_(?:back|locals|globals)\b|\bget_(?:objects|referrers)\b"
    r"|(?<=\.)__\w{1,60}__(?=\s{0,20}=[^=])"
)

# What reads attributes that are nobody else's to read; a class may read its own, and libraries have theirs.
PRIVATE = re.compile(
    r"(?<!\bself)(?<!\bcls)(?<!\btorch)(?<!\bnn)(?<!\bF)(?<!\bnp)(?<!\bplt)\._(?!_)[A-Za-z]"
    r"|\bvars\(|getattr\([^()]{0,200},\s{0,9}['\"]_|\.__(?:dict|slots|closure|getstate|reduce|reduce_ex)__"
    r"|\bcell_contents\b|\bgetclosurevars\b|\bgetmembers\b|\bpickle\b|\bget_(?:objects|referents|referrers)\b"
)
SHOWN = 20  # of what a flag names, and letters of a word in it


@dataclass
class Origins:
    """Where the answers of one notebook come from.

    Attributes:
        given: numbers of the code cells that are as they were given out.
        elsewhere: the learner's other code cells that an answer rests on: what they are called, and their source.
        faults: of each function whose own cell is not Python, what is wrong with it.
        flags: what a person should look at.
    """

    given: list[int] = field(default_factory=list)
    elsewhere: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)


def origins(
    notebook: nbformat.NotebookNode, released: nbformat.NotebookNode, names: Sequence[str], jail: Jail
) -> Origins:
    """See where the answers come from.

    Args:
        notebook: as it was handed in.
        released: as it was given out.
        names: of the functions that are asked for.
        jail: where the notebook is parsed.

    Raises:
        NoJail: if no jail can be started here.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    sources = [cell.source for cell in code]
    handed_out = {cell.source.strip() for cell in released.cells if cell.cell_type == "code"}
    found = Origins([number for number, source in enumerate(sources) if source.strip() in handed_out])
    ids = [grade_id(cell) for cell in notebook.cells]
    twice = [name for name, count in Counter(ids).items() if name and count > 1]
    if twice:
        known = {grade_id(cell) for cell in released.cells}
        shown = ", ".join(name if name in known else plain.quoted(name) for name in twice[:SHOWN])
        more = ", and more" if len(twice) > SHOWN else ""
        found.flags.append(f"several cells have the grade id {shown}{more}; a person is shown the first")
    places = [grade_id(cell) for cell in code]
    own = [places.index(name) if name in places else -1 for name in names]
    reply = jail.ask("look", [LOOK], pickle.dumps([(list(names), sources, own, found.given)]))
    if reply["status"] != "answers":
        found.flags.append(f"where the answers come from could not be seen ({reply['status']})")
        return found
    inside = functools.cache(lambda number: set(INSIDE.findall(sources[number])))  # many rest on the same cells
    private = functools.cache(lambda number: PRIVATE.search(sources[number]) is not None)
    for name, place, (elsewhere, rests_on, fault) in zip(names, own, reply["answers"][0], strict=True):
        words = sorted(set().union(*map(inside, rests_on)))
        if words:
            shown = ", ".join(word[:SHOWN] for word in words[:SHOWN])
            found.flags.append(f"{name}: it rests on cells that reach into Python's own parts ({shown})")
        if any(map(private, [*([place] if place >= 0 else []), *rests_on])):
            found.flags.append(f"{name}: it reads what is private to an object, perhaps to one that it was given")
        found.elsewhere |= {f"code cell {number + 1}": sources[number] for number in rests_on}
        if elsewhere:
            numbers = ", ".join(str(number + 1) for number in elsewhere[:SHOWN])
            numbers += ", and more" if len(elsewhere) > SHOWN else ""
            found.flags.append(f"{name}: code cell {numbers} gives it a meaning too, outside the cell where it belongs")
        if fault:
            found.faults[name] = f"Your cell has {'an' if fault[0] in 'AEIOU' else 'a'} {fault}"
    return found


def grade_id(cell: nbformat.NotebookNode) -> str | None:
    """What nbgrader calls a cell."""
    data = cell.metadata.get("nbgrader")
    name = data.get("grade_id") if isinstance(data, dict) else None
    return name if isinstance(name, str) else None


def contradicted(notebook: nbformat.NotebookNode, statuses: Mapping[str, str]) -> list[str]:
    """A flag for each exercise that is right by the outputs that the notebook was saved with, and not by its mark.

    Args:
        notebook: as it was handed in.
        statuses: of each exercise's mark.
    """
    said = {name for cell in notebook.cells for text in printed(cell) for name in RIGHT.findall(text)}
    return [
        f"{name}: the notebook's own output says ✓, the mark does not"
        for name, status in statuses.items()
        if name in said and status != "right"
    ]


def printed(cell: Mapping[str, Any]) -> Iterator[str]:
    """The texts that a cell was saved with, whatever else may be there in their place."""
    outputs = cell.get("outputs")
    for output in outputs if isinstance(outputs, list) else ():
        text = output.get("text") if isinstance(output, dict) else None
        if isinstance(text, list):
            text = "".join(part for part in text if isinstance(part, str))
        if isinstance(text, str):
            yield text
