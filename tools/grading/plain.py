"""What learners wrote, as text that does nothing: in a terminal, in a table, on a page, in whatever reads Markdown."""

import html
import re
import unicodedata

JOINERS = "\u200c\u200d"  # they change how letters and emoji join, and nothing else
# How a cell begins that a spreadsheet computes (OWASP, CSV injection), in letters of full width too.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
DIVIDED = re.compile(r"([;|])")  # what ends a cell, too, in tables of another kind; a tab is written out


def visible(text: str, kept: str = "") -> str:
    """The text with what has no sign of its own written out, such as ``\\x1b`` and marks that turn the writing round.

    Args:
        text: anything.
        kept: which of those stay, such as a line's end.
    """
    return "".join(letter if letter in kept or _has_a_sign(letter) else _written_out(letter) for letter in text)


def quoted(text: str, length: int = 40) -> str:
    """A learner's word within a sentence of ours: in quotes, so that it is no sentence of its own, and short."""
    shown = visible(text[: length + 1]).replace("\u201c", '"').replace("\u201d", '"')
    return f"\u201c{shown[:length]}\u2026\u201d" if len(shown) > length else f"\u201c{shown}\u201d"


def shortened(flags: list[str], each: int = 600, together: int = 3000) -> list[str]:
    """Flags of one learner, each in one line and none longer than anybody reads; how many are left out is said."""
    kept: list[str] = []
    for flag in flags:
        line = visible(flag[: each + 1])
        line = f"{line[:each]}\u2026" if len(line) > each else line
        if sum(map(len, kept)) + len(line) > together:
            return [*kept, f"and {len(flags) - len(kept)} more of these"]
        kept.append(line)
    return kept


def _has_a_sign(letter: str) -> bool:
    return letter in JOINERS or unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _written_out(letter: str) -> str:
    number = ord(letter)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def lines(text: str) -> str:
    """The same for a text of many lines, whose ends and tabs stay."""
    return visible(text.replace("\r\n", "\n").replace("\r", "\n"), kept="\n\t")


def table_cell(value: object) -> object:
    """A value for a table: a text that a spreadsheet would take for a formula begins with an apostrophe.

    So does each part of it behind a sign at which some programs divide a line, whatever quotes stand around.
    """
    if not isinstance(value, str):
        return value
    first, *others = DIVIDED.split(visible(value))
    begins = value.lstrip(" ").startswith(FORMULA)
    rest = (f"'{part}" if part.lstrip().startswith(FORMULA) else part for part in others)
    return "".join([f"'{first}" if begins else first, *rest])


def block(text: str) -> str:
    """The text as HTML in one line, to stand in a Markdown cell and be shown as it was written.

    All that is no letter, digit or space becomes a number, so whatever reads Markdown or mathematics before the browser
    does finds neither. Within ``<pre>`` MathJax, which reads the page later, looks for nothing.
    """
    numbers = "".join(letter if letter.isalnum() or letter == " " else f"&#{ord(letter)};" for letter in lines(text))
    return f'<pre style="white-space: pre-wrap; word-break: normal">{numbers}</pre>'


def comment(text: str) -> str:
    """The text for nbgrader's comments, which are read as Markdown on one page and shown as they are in a form."""
    harmless = html.escape(lines(text), quote=False).replace("\\", "\u2216").replace("`", "&#96;")  # no TeX, no code
    return harmless.replace("[", "&#91;").replace("]", "&#93;")
