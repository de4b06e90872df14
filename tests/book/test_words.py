"""Words that allow no exception stand beside a proof, a measurement or a source; or the reason is given here."""

import re

import pytest

from tests.helpers import ROOT, page_names
from tests.helpers.absolute import ABSOLUTE

WORDS = re.compile(r"\b(never|always|cannot|any|only|must)\b", re.IGNORECASE)
PROOF = re.compile(r"\{bdg-ref-|\{cite|\{eq\}")  # the mark of a claim, a source, a formula that is derived
PAGES = [name for name in page_names() if (ROOT / f"{name}.md").exists()]


FENCED = re.compile(r"^( *)```(\{code-cell\}|python|bash|console|text|yaml).*?^\1```", re.DOTALL | re.MULTILINE)


def sentences(text: str) -> list[tuple[str, bool]]:
    """The sentences of a page that hold such a word, and whether something in their paragraph proves it."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    text = re.sub(r"\$\$.*?\$\$", " ", FENCED.sub("", text), flags=re.DOTALL)
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        proven = bool(PROOF.search(paragraph))
        parts = re.split(r"(?<=[.?!:])[*_]*\s+", paragraph.replace("\n", " "))
        found += [(part.strip(), proven) for part in parts if WORDS.search(part)]
    return found


@pytest.mark.parametrize("name", PAGES)
def test_absolute_words_are_proven_or_have_a_reason(name):
    allowed = ABSOLUTE.get(name, {})
    found = [sentence for sentence, proven in sentences((ROOT / f"{name}.md").read_text()) if not proven]
    open_ones = [sentence for sentence in found if not any(start in sentence for start in allowed)]
    assert not open_ones, "\n".join(open_ones)
    unused = [start for start in allowed if not any(start in sentence for sentence in found)]
    assert not unused, f"these are not needed any more: {unused}"
    assert all(allowed.values())


def test_a_sentence_is_found_with_and_without_its_proof():
    text = "---\na: never\n---\nIt never ends. It may.\n\nOnly here {cite}`x`.\n\n```python\nany(x)\n```\n"
    assert sentences(text) == [("It never ends.", False), ("Only here {cite}`x`.", True)]
