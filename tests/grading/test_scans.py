"""A learner's text is looked through outside the jail in time that grows with its length, whatever stands in it."""

import ast
import re

import pytest

from tests.helpers import ROOT, hostile
from tests.helpers.submissions import LAB
from tools.grading import handins, marks, platforms, scans

PLACES = sorted((ROOT / "tools" / "grading").glob("*.py"))
IN_THE_JAIL = {"inside.py"}
SHORT = {"platforms.py"}  # they see names of files, of which `readings` takes none that is long
OF_RE = {"compile", "search", "match", "fullmatch", "findall", "finditer", "split", "sub", "subn"}
MOST = 5_000  # ways in which a pattern may take letters at one place and then find that it was in vain
MANY = re._constants.MAXREPEAT  # noqa: SLF001  (of the parser of patterns, which has no other name)


def ways(part, last=True):
    """In how many ways a pattern can be tried at one place. A part without a limit, with more to come, has no number.

    ``last``: nothing comes after it, so what it has taken is never given back.
    """
    number = 1
    for place, (kind, given) in enumerate(part):
        name, end = str(kind), last and place == len(part) - 1
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            least, most, inner = given
            if most == MANY:
                if not (end and len(inner) == 1 and ways(inner, False) == 1):
                    return float("inf")
            else:
                inner = ways(inner, False)
                number *= sum(inner**n for n in range(least, most + 1))
        elif name == "BRANCH":
            number *= sum(ways(one, end) for one in given[1])
        elif name == "SUBPATTERN":
            number *= ways(given[-1], end)
        elif name in ("ASSERT", "ASSERT_NOT"):
            number *= ways(given[1], False)
        elif name not in ("LITERAL", "NOT_LITERAL", "IN", "ANY", "AT", "CATEGORY"):
            return float("inf")
    return number


def patterns(path):
    """Every pattern in a file, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        named = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if named and isinstance(node.func.value, ast.Name) and node.func.value.id == "re" and node.func.attr in OF_RE:
            yield node.lineno, ast.literal_eval(node.args[0])  # which fails for one that is put together


@pytest.mark.parametrize("path", [p for p in PLACES if p.name not in IN_THE_JAIL | SHORT], ids=lambda path: path.name)
def test_no_pattern_outside_the_jail_goes_over_a_letter_again_and_again(path):
    for line, pattern in patterns(path):
        assert ways(re._parser.parse(pattern)) <= MOST, f"{path.name}:{line}: {pattern}"  # noqa: SLF001


def test_patterns_are_found_and_counted():
    assert len([pattern for path in PLACES for pattern in patterns(path)]) > 15
    counted = {r"a{0,9}b": 10, r"\w+": 1, r"(?:ab|cd)e": 2, r"a\s{0,9}b{2,3}c": 20, r"(?:a{0,1}|b){0,2}c": 13}
    assert {pattern: ways(re._parser.parse(pattern)) for pattern in counted} == counted  # noqa: SLF001
    for endless in (r"timeit\b.*-\w*o", r"(a+)+$", r"a*b", r"(?=a*b)c", r"(\w)\1*"):
        assert ways(re._parser.parse(endless)) == float("inf"), endless  # noqa: SLF001


def test_where_patterns_may_go_back_names_are_short():
    assert platforms.readings("a_1_2_" + "x" * platforms.LONGEST) == []
    assert platforms.LONGEST <= 500


class Counted(str):
    """A text that counts how many of its letters were looked at."""

    __slots__ = ("seen",)

    def find(self, part, start=0):
        found = super().find(part, start)
        self.seen = getattr(self, "seen", 0) + (found if found >= 0 else len(self)) - start + 1
        return found


ODD = {
    "quotes": '"' * 99_999,
    "threes": "'''" * 33_333 + '"',
    "one on each line": '"\n' * 50_000,
    "of two kinds": "\"\n'" * 30_000,
    "one that never ends": '"""' + "'\n" * 50_000,
    "comments": "#'\"\n" * 25_000,
    "all": "#\"'''\n" * 16_000,
}


@pytest.mark.parametrize("kind", ODD)
def test_texts_in_code_are_found_without_looking_twice(kind):
    source = Counted(ODD[kind])
    assert sum(map(len, scans.texts_in(source))) <= len(source)
    assert source.seen <= 6 * len(source)


def test_texts_in_code_are_its_comments_and_its_strings():
    code = 'x = \'a # b\'  # one "two"\ny = """c\n\'d\' # e""" + \'not closed\nz = \'\' # f'
    assert list(scans.texts_in(code)) == ["a # b", ' one "two"', "c\n'd' # e", "", " f"]
    assert scans.has_words("code", "# " + "word " * 12)
    assert not scans.has_words("code", "# " + "word " * 11 + "\nx = 1")
    assert scans.has_words("markdown", "x")


@pytest.mark.parametrize(
    ("source", "taken"),
    [
        ("t = %timeit -o f()", True),
        ("%%timeit -n 3 -qo\nf()", True),
        ("%timeit -n 3 f(o)", False),
        ("x = Out[3]", True),
        ("y = f(__)", True),
        ("y = _", True),
        ("for _ in range(3): pass", False),
        ("y = _12", True),
    ],
)
def test_what_is_taken_from_the_shell_is_seen(source, taken):
    assert scans.from_the_shell(source) is taken


def test_each_text_is_looked_through_once_and_not_for_each_exercise(monkeypatch):
    asked = []
    monkeypatch.setattr(marks, "from_the_shell", asked.append)
    monkeypatch.setattr(marks, "names", lambda sources: asked.extend(sources) or set())
    lost = [marks.Mark(name, 0, 2, "wrong", "") for name in ("step", "fused_step", "largest_step", "backpropagate")]
    added = [(n, "code", f"# {n}" + hostile.GONE_OVER) for n in range(9)]
    assert marks.unexplained(marks.Marked("ann", lost, added=added), {}) == []
    assert sorted(filter(None, asked)) == sorted(2 * [source for *_, source in added])


@pytest.mark.parametrize(
    ("name", "base"),
    [
        (f"{LAB}.ipynb", f"{LAB}.ipynb"),
        (f"{LAB}-1.ipynb", f"{LAB}.ipynb"),
        (f"{LAB} (2)-3.ipynb", f"{LAB}.ipynb"),
        (f"{LAB}(2).ipynb", f"{LAB}.ipynb"),
        ("homework-7", "homework"),
        ("a-.ipynb", "a-.ipynb"),
        ("a).ipynb", "a).ipynb"),
        ("a-1).ipynb", "a-1).ipynb"),
        ("a(1.ipynb", "a(1.ipynb"),
    ],
)
def test_numbers_that_were_added_to_a_files_name_are_taken_off(name, base):
    assert handins.base(name) == base


def test_a_receipt_is_read_from_its_first_lines():
    told = platforms.receipt("Name:  Ann (of) Lee  (ann_l) \nDate Submitted: Friday, 3 PM CET\n\nName: Bob (bob)")
    assert (told.name, told.user, told.zone.utcoffset(None).total_seconds()) == ("Ann (of) Lee", "ann_l", 3600)
    for none in ("", "Name: Ann", "Name: (a) b)", "Name:" + " " * 10**6 + "x", "\n" * 10**5 + "Name: Ann (ann)"):
        assert platforms.receipt(none) is None
