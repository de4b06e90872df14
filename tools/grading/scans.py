"""What a learner's text says to whoever looks for it outside the jail: no look goes over a letter again and again.

A pattern that may take as much as it likes, with more to come after it, takes hours of a text that was made for it. So
no pattern here has such a part, and none in its neighbours; a test looks at all of them.
"""

import re
from collections.abc import Iterable, Iterator

# What is taken from the shell, which is not in the jail: its tables of cells and results, and its names for the last.
SHELL = re.compile(
    r"\bOut\[|\bIn\[|\b_[io]?h\b|\b_i?\d{1,9}\b|[=(]\s{0,9}_{2,3}\s{0,9}[,)\n]|=\s{0,9}_\s{0,9}$", re.MULTILINE
)
WORDS = 12  # in comments and texts of one cell with code, from which on it may be an essay
WORD, LETTERS = re.compile(r"\w+"), re.compile(r"[^\W\d_]{2,}")
TEXT_BEGINS = re.compile(r"\"\"\"|'''|[\"'#]")


def names(sources: Iterable[str]) -> set[str]:
    """All words that stand in these texts; each is gone through once."""
    return {word for source in sources for word in WORD.findall(source)}


def from_the_shell(source: str) -> bool:
    """Whether code takes something from IPython's shell, such as the last result, or a time that ``%timeit`` keeps."""
    return SHELL.search(source) is not None or any(map(_keeps_a_time, source.split("\n")))


def _keeps_a_time(line: str) -> bool:
    _, found, after = line.partition("timeit")
    return bool(found) and any(word[0] == "-" and "o" in word for word in after.split())


def has_words(kind: str, source: str) -> bool:
    """Whether a cell of a learner's own holds a text: all but code does, and code with sentences in it."""
    if kind != "code":
        return bool(source.strip())
    return sum(len(LETTERS.findall(text)) for text in texts_in(source)) >= WORDS


def texts_in(source: str) -> Iterator[str]:
    """The comments and texts in code, as far as that can be seen without parsing it."""
    place, line_ends, gone = 0, -1, set[str]()
    while begin := TEXT_BEGINS.search(source, place):
        mark, place = begin[0], begin.end()
        if line_ends < place:
            line_ends = source.find("\n", place) % (len(source) + 1)  # or the text does
        if mark == "#":
            end = line_ends
        else:
            end = -1 if mark in gone else source.find(mark, place)
            if end < 0:
                gone.add(mark)  # none is to come, so nobody need look again
            if end < 0 or (len(mark) == 1 and end > line_ends):
                continue
        yield source[place:end]
        place = end + len(mark)
