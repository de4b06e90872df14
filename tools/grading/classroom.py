"""One page on the whole class, without names: where points were lost, by which mistakes, and how the marks lie."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from gradclinic.course.exercises import Exercise, Lab
from tools.grading.files import write
from tools.grading.ledger import Record
from tools.grading.marks import Mark
from tools.grading.tables import Row

BINS = 10  # of the marks, at most
KINDS = {"right": "right", "part": "right in part", "wrong": "wrong", "blank": "not attempted"}
STYLE = """
:root { color-scheme: light dark; --right: #5b9bd5; --part: #a9cdea; --wrong: #e08a4f; --blank: #9a9a9a; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 42rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
svg { width: 100%; max-width: 30rem; height: auto; }
svg text { fill: currentColor; font-size: 12px; text-anchor: middle; }
.bar { display: flex; height: 1.4rem; border-radius: 3px; overflow: hidden; }
.bar span { color: #000; font-size: .8rem; line-height: 1.4rem; text-align: center; overflow: hidden; }
.right { background: var(--right); fill: var(--right); } .part { background: var(--part); }
.wrong { background: var(--wrong); } .blank { background: var(--blank); }
.key span { display: inline-block; margin-right: 1rem; } .key i { display: inline-block; width: .8em; height: .8em; }
li { margin-bottom: .8rem; } p { margin: .3rem 0; } small { opacity: .8; }
"""


def kind(mark: Mark) -> str:
    """Which of ``KINDS`` a mark is."""
    return "part" if 0 < mark.points < mark.of else mark.status


def counted(records: Mapping[str, Record]) -> tuple[dict[str, Counter[str]], Counter[tuple[str, str]]]:
    """Of each exercise, how many marks there are of each kind; and how often each known mistake was made."""
    kinds: dict[str, Counter[str]] = {}
    mistakes: Counter[tuple[str, str]] = Counter()
    for record in records.values():
        for mark in record.marked.marks:
            kinds.setdefault(mark.exercise, Counter())[kind(mark)] += 1
            if mark.mistake:
                mistakes[mark.exercise, mark.mistake] += 1
    return kinds, mistakes


def class_page(lab: Lab, records: Mapping[str, Record], rows: Sequence[Row]) -> str:
    """The page, with all that it needs in it."""
    kinds, mistakes = counted(records)
    totals = [row[lab.name] for row in rows if row[lab.name] != ""]
    parts = [
        f"<h1>{escape(lab.name)}: {len(rows)} learners</h1>",
        *_marks(totals, rows[0]["of"], len(rows) - len(totals)),
        "<h2>Where points were lost</h2>",
        '<p class="key">' + "".join(f'<span><i class="{k}"></i> {words}</span>' for k, words in KINDS.items()) + "</p>",
        *(_exercise(exercise, kinds.get(exercise.name, Counter()), records) for exercise in lab.exercises),
        "<h2>Mistakes</h2>",
        _mistakes(lab, kinds, mistakes),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(lab.name)}: the class</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style></head>\n<body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def write_page(lab: Lab, records: Mapping[str, Record], rows: Sequence[Row], root: Path) -> None:
    """Write ``grades/<lab>/class.html``."""
    write(root / "grades" / lab.name / "class.html", class_page(lab, records, rows))


def _marks(totals: Sequence[float], of: float, waiting: int) -> list[str]:
    waits = [f"<p>{waiting} wait for a person to read an essay, and are not among the marks.</p>"] if waiting else []
    if not totals:
        return waits
    middle = f"<p>Half of them have at least {statistics.median(totals):g} of {of:g} points.</p>"
    return [middle, *waits, histogram(totals, of)]


def histogram(totals: Sequence[float], of: float) -> str:
    """A figure of how the marks lie, between 0 and ``of`` points, which is the last bin's."""
    bins = min(BINS, max(int(of), 1))
    counts = Counter(min(int(total / of * bins), bins - 1) for total in totals)
    drawn, wide = [], 340 / bins
    for number, count in sorted(counts.items()):
        left, top = 10 + number * wide, 120 - 100 * count / max(counts.values())
        size = f'width="{wide - 2:.1f}" height="{120 - top:.1f}"'
        drawn.append(f'<rect class="right" x="{left + 1:.1f}" y="{top:.1f}" {size}/>')
        drawn.append(f'<text x="{left + wide / 2:.1f}" y="{top - 5:.1f}">{count}</text>')
    drawn += [f'<text x="{10 + 340 * part:.0f}" y="138">{of * part:g}</text>' for part in (0, 0.5, 1)]
    said = "; ".join(f"{n * of / bins:g} to {(n + 1) * of / bins:g}: {count}" for n, count in sorted(counts.items()))
    return (
        f'<svg viewBox="0 0 360 156" role="img" aria-label="How many learners have how many points. {said}">'
        f'{"".join(drawn)}<line x1="10" x2="350" y1="120.5" y2="120.5" stroke="currentColor"/>'
        '<text x="180" y="153">points</text></svg>'
    )


def _exercise(exercise: Exercise, kinds: Counter[str], records: Mapping[str, Record]) -> str:
    everybody = max(kinds.total(), 1)
    marks = [mark for record in records.values() for mark in record.marked.marks if mark.exercise == exercise.name]
    lost = sum(mark.of - mark.points for mark in marks) / everybody
    bar = "".join(
        f'<span class="{k}" style="width: {100 * kinds[k] / everybody:.1f}%">{kinds[k]}</span>'
        for k in KINDS
        if kinds[k]
    )
    words = ", ".join(f"{kinds[k]} {KINDS[k]}" for k in KINDS if kinds[k])
    return (
        f"<p>{escape(exercise.id)} <small>on average {lost:.1f} of {exercise.points} points lost</small></p>"
        f'<div class="bar" role="img" aria-label="{words}">{bar}</div>'
    )


def _mistakes(lab: Lab, kinds: Mapping[str, Counter[str]], mistakes: Counter[tuple[str, str]]) -> str:
    hints = {(e.name, mistake.name): mistake for e in lab.exercises for mistake in e.mistakes}
    items = []
    for (exercise, name), times in mistakes.most_common():
        known = hints.get((exercise, name))
        belief = f"<p>Who does this may believe: {escape(known.belief)}</p>" if known and known.belief else ""
        hint = f"<p><small>They were told: {escape(known.hint)}</small></p>" if known else ""
        items.append(f"<li><b>{times}</b> in {escape(exercise)}: {escape(name)}{belief}{hint}</li>")
    wrong = sum(counter["wrong"] + counter["part"] for counter in kinds.values())
    others = wrong - mistakes.total()
    rest = f"<p>{others} wrong answers are none of the known mistakes.</p>" if others else ""
    return (f"<ul>{''.join(items)}</ul>" if items else "<p>None of the known ones.</p>") + rest
