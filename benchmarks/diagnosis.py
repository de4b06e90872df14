"""How often ``gradclinic.diagnose`` is right, beside three other sets of rules on the same runs.

    python benchmarks/diagnosis.py             # both parts, 5 seeds; keeps the table in book/assets/diagnosis.json
    python benchmarks/diagnosis.py --quick     # a few runs of each kind, two seeds; keeps nothing

The bank (``bank.py``) says what the runs are and how their labels are confirmed. Finished runs are kept in
``_build/benchmarks``, so rules can be changed without training again. Thresholds were set on part "tune". Part "held"
has other architectures and other data, and was scored once, at the end.
"""

import argparse
import datetime
import json
import math
import platform
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from joblib import Memory
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parent))

import bank
from bank import CASES, FAIL, PASS, Case, Outcome, Spec, changed, reference

from gradclinic.course.treatment import changes
from gradclinic.diagnosis import KINDS, Diagnosis, diagnose
from gradclinic.record import Record

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "book" / "assets" / "diagnosis.json"
CHECKPOINTS = (1, 2, 5, 10, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400, 500)

train = Memory(ROOT / "_build" / "benchmarks", verbose=0).cache(bank.train)


@dataclass
class Run:
    """One confirmed run: what is true of it, and what was recorded."""

    case: Case
    seed: int
    label: str
    reference: float
    outcome: Outcome


# --- labels ----------------------------------------------------------------------------------------------------------


def confirm(case: Case, seed: int) -> tuple[Run | None, str]:
    """The run with the label that training gives it, or None and why it has none."""
    best = train(reference(case.spec), seed, False).score
    outcome = train(case.spec, seed, True)
    share = outcome.score / best
    if share >= PASS:
        return Run(case, seed, "healthy", best, outcome), ""
    if share >= FAIL:
        return None, f"neither works nor fails ({share:.2f} of the reference)"
    if case.kind == "healthy":
        return None, f"should work and does not ({share:.2f} of the reference)"
    mended = train(changed(case.spec, case.remedy), seed, False).score / best
    if mended < PASS:
        return None, f"its remedy does not mend it ({mended:.2f} of the reference)"
    for sham in case.shams:
        if train(changed(case.spec, sham), seed, False).score / best >= FAIL:
            return None, f"a sham remedy mends it, too: {sham}"
    return Run(case, seed, case.kind, best, outcome), ""


# --- the rules of others, as their sources state them ----------------------------------------------------------------


def plain_norms(run: Run) -> str:
    """Any recorded step with a norm below 1e-4 or above 100, or half of the gradient zero."""
    first, last, zero = run.outcome.peers["rows"][:, :3].T
    norms = np.concatenate([first, last])
    if not np.isfinite(norms).all() or norms.max() > 100:
        return "exploding"
    if zero.max() > 0.5:
        return "dying ReLU"
    return "vanishing" if norms.min() < 1e-4 else "healthy"


def autotrainer(run: Run) -> str:
    """Zhang et al. 2021 (ICSE), table 1 and its published defaults."""
    rows, accuracy, loss = (run.outcome.peers[name] for name in ("rows", "accuracy", "loss"))
    first, last, zero = rows[:, :3].T
    if not np.isfinite(loss).all() or not np.isfinite(rows[:, :2]).all() or loss.max() >= 1e5:
        return "exploding"
    if len(accuracy) and accuracy.max() >= 0.6:
        return "healthy"
    ratio = np.divide(first, last, out=np.ones_like(first), where=last > 0)
    if ((ratio < 1e-3) & (first < 1e-4)).any():
        return "vanishing"
    if (ratio > 70).any():
        return "exploding"
    if (zero >= 0.7).any():
        return "dying ReLU"
    if len(accuracy) > 1:
        swings = np.abs(np.diff(accuracy)) >= 0.03
        if accuracy.max() - accuracy[0] < 0.01:
            return "learning rate too low"  # its "slow convergence"
        if swings.mean() >= 0.2:
            return "learning rate too high"  # its "oscillating loss"
    return "healthy"


def deepdiagnosis(run: Run) -> str:
    """Wardat et al. 2022 (ICSE), the symptoms and thresholds of its section 4."""
    rows, loss = run.outcome.peers["rows"], run.outcome.peers["loss"]
    if not np.isfinite(loss).all() or not np.isfinite(rows).all():
        return "exploding"
    if rows[:, 4].max() >= 0.7:
        return "dying ReLU"
    if rows[:, 5].max() > 0.5:
        return "saturated"
    if rows[:, 3].min() < 1e-7:
        return "vanishing"
    if np.median(loss[-20:]) >= loss[0]:
        return "learning rate too high"  # its "loss not decreasing"
    return "healthy"


def ours(run: Run) -> str:
    return diagnose(run.outcome.record).kind


RULES: dict[str, Callable[[Run], str]] = {
    "gradclinic.diagnose": ours,
    "AutoTrainer": autotrainer,
    "DeepDiagnosis": deepdiagnosis,
    "plain norm thresholds": plain_norms,
}


# --- figures ---------------------------------------------------------------------------------------------------------


def macro_f1(pairs: Iterable[tuple[str, str]]) -> float:
    """Mean over the kinds that occur of the harmonic mean of precision and recall."""
    pairs = list(pairs)
    scores = []
    for kind in {truth for truth, _ in pairs}:
        hit = sum(truth == said == kind for truth, said in pairs)
        told = sum(said == kind for _, said in pairs)
        real = sum(truth == kind for truth, _ in pairs)
        scores.append(2 * hit / (told + real))
    return statistics.mean(scores)


def interval(runs: list[Run], value: Callable[[list[int]], float], draws: int = 1000) -> tuple[float, float]:
    """95 % by bootstrap over configurations: the seeds of one configuration are no independent runs."""
    of_case: dict[str, list[int]] = {}
    for i, run in enumerate(runs):
        of_case.setdefault(run.case.name, []).append(i)
    names, generator = list(of_case), np.random.default_rng(0)
    drawn = []
    for _ in range(draws):
        rows = [i for n in generator.integers(len(names), size=len(names)) for i in of_case[names[n]]]
        drawn.append(value(rows))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def share(hits: Iterable[bool]) -> float:
    hits = list(hits)
    return sum(hits) / len(hits) if hits else math.nan


def score(runs: list[Run], said: list[str]) -> dict[str, object]:
    """Detection, right class, false alarms and macro-F1 of one set of rules, with their intervals."""

    def detected(rows: list[int]) -> float:
        return share(said[i] not in ("healthy", "undecided") for i in rows if runs[i].label != "healthy")

    def right(rows: list[int]) -> float:
        return share(said[i] == runs[i].label for i in rows if runs[i].label != "healthy")

    def alarms(rows: list[int]) -> float:
        return share(said[i] not in ("healthy", "undecided") for i in rows if runs[i].label == "healthy")

    def f1(rows: list[int]) -> float:
        return macro_f1((runs[i].label, said[i]) for i in rows)

    everything = list(range(len(runs)))
    return {
        name: {"value": value(everything), "interval": interval(runs, value)}
        for name, value in (("detection", detected), ("right class", right), ("false alarms", alarms), ("macro-F1", f1))
    }


def first_steps(record: Record, rows: int) -> Record:
    """The record as it was after so many recorded steps."""
    told = record.told_step <= (record.step[rows - 1] if rows else 0)
    arrays = {
        name: value[told] if name.startswith("told_") else value[:rows]
        for name, value in vars(record).items()
        if isinstance(value, np.ndarray)
    }
    return replace(record, **arrays)


def steps_to_verdict(record: Record) -> int:
    """The first checkpoint from which on the verdict is the final one."""
    final, reached = diagnose(record).kind, len(record.step)
    for rows in reversed([c for c in CHECKPOINTS if c < len(record.step)]):
        if diagnose(first_steps(record, rows)).kind != final:
            break
        reached = rows
    return int(record.step[reached - 1])


def layer_error(case: Case, diagnosis: Diagnosis) -> int | None:
    """How many layers the first one named lies from the one the fault was put into."""
    if case.layer is None or not diagnosis.layers:
        return None
    return abs(int("".join(c for c in diagnosis.layers[0] if c.isdigit()) or 0) - case.layer)


def treated(spec: Spec, diagnosis: Diagnosis) -> Spec | None:
    """The run's settings after the first remedy of its diagnosis, without a look at the case."""
    if not diagnosis.remedies:
        return None
    change = changes(diagnosis.remedies[0], spec.activation, recurrent=spec.arch not in ("mlp", "conv"))
    if "cell" in change:
        change["arch"] = change.pop("cell")
    elif "init" in change:  # all weights are drawn anew
        change |= {"bias": None, "scaled_layer": None}
    return changed(spec, change)


def report(part: str, runs: list[Run], left_out: list[str]) -> dict[str, object]:
    """All figures of one part."""
    diagnoses = [diagnose(run.outcome.record) for run in runs]
    verdicts = {name: [rule(run) for run in runs] for name, rule in RULES.items()}
    faulty = [i for i, run in enumerate(runs) if run.label != "healthy"]
    mended, failed = [], []
    for i in tqdm(faulty, desc=f"{part}: applying remedies", unit="run", disable=None):
        run, spec = runs[i], treated(runs[i].case.spec, diagnoses[i])
        cured = spec is not None and train(spec, run.seed, False).score / run.reference >= PASS
        mended.append(cured)
        if not cured:
            failed.append(f"{run.case.name} (seed {run.seed})")
    errors = [
        layer_error(run.case, d)
        for run, d in zip(runs, diagnoses, strict=True)
        if run.case.layer and run.label != "healthy"
    ]
    steps = [steps_to_verdict(run.outcome.record) for run in runs]
    confusion = Counter((run.label, d.kind) for run, d in zip(runs, diagnoses, strict=True))
    missed = [
        f"{run.case.name} (seed {run.seed}): {run.label}, called {d.kind}"
        for run, d in zip(runs, diagnoses, strict=True)
        if run.label != d.kind
    ]
    return {
        "configurations": len({run.case.name for run in runs}),
        "runs": len(runs),
        "healthy": sum(run.label == "healthy" for run in runs),
        "rules": {name: score(runs, said) for name, said in verdicts.items()},
        "layer within one": {"value": share(e is not None and e <= 1 for e in errors), "of": len(errors)},
        "remedy success": {"value": share(mended), "of": len(mended), "failed": failed},
        "steps to verdict": {
            "median": statistics.median(steps),
            "within 50": share(s <= 50 for s in steps),
            "largest": max(steps),
        },
        "confusion": [[truth, said, count] for (truth, said), count in sorted(confusion.items())],
        "missed": missed,
        "left out": left_out,
    }


def written(figures: dict[str, object]) -> str:
    """The figures as text, for a terminal."""
    lines = [f"{figures['configurations']} configurations, {figures['runs']} runs, {figures['healthy']} healthy", ""]
    columns = ("detection", "right class", "false alarms", "macro-F1")
    lines.append(f"{'rules':24}" + "".join(f"{c:>22}" for c in columns))
    for name, values in figures["rules"].items():
        cells = (
            f"{values[c]['value']:.2f} ({values[c]['interval'][0]:.2f}-{values[c]['interval'][1]:.2f})" for c in columns
        )
        lines.append(f"{name:24}" + "".join(f"{cell:>22}" for cell in cells))
    layer, remedy, steps = (figures[k] for k in ("layer within one", "remedy success", "steps to verdict"))
    lines += [
        "",
        f"layer within one: {layer['value']:.2f} of {layer['of']}",
        f"remedy success: {remedy['value']:.2f} of {remedy['of']}; not: {', '.join(remedy['failed']) or 'none'}",
        f"steps to verdict: median {steps['median']:g}, by step 50: {steps['within 50']:.2f}, last {steps['largest']}",
        "",
    ]
    said = [k for k in KINDS if any(row[1] == k for row in figures["confusion"])]
    width = max(map(len, KINDS)) + 2
    lines.append(f"{'truth, then called':{width}}" + "".join(f"{k[-12:]:>14}" for k in said))
    counts = {(t, s): n for t, s, n in figures["confusion"]}
    for truth in (k for k in KINDS if any(row[0] == k for row in figures["confusion"])):
        lines.append(f"{truth:{width}}" + "".join(f"{counts.get((truth, k), 0):>14}" for k in said))
    lines += [
        "",
        *(f"missed: {line}" for line in figures["missed"]),
        *(f"left out: {line}" for line in figures["left out"]),
    ]
    return "\n".join(lines)


def gather(cases: list[Case], seeds: Iterable[int], label: str = "runs") -> tuple[list[Run], list[str]]:
    """Train what is not yet trained, and keep what is confirmed."""
    runs, left_out = [], []
    pairs = [(case, seed) for case in cases for seed in seeds]
    for case, seed in tqdm(pairs, desc=label, unit="run", disable=None):
        run, why = confirm(case, seed)
        if run is None:
            left_out.append(f"{case.name} (seed {seed}): {why}")
        else:
            runs.append(run)
    return runs, left_out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few runs of each kind")
    parser.add_argument("--part", choices=("tune", "held"), help="only one part; keeps nothing")
    options = parser.parse_args()
    seeds = range(2) if options.quick else range(5)
    figures = {}
    for part in ("tune", "held") if options.part is None else (options.part,):
        cases = [case for case in CASES if case.part == part]
        if options.quick:
            cases = [case for i, case in enumerate(cases) if i % 6 == 0]
        figures[part] = report(part, *gather(cases, seeds, part))
        print(f"\n=== part {part} ===\n{written(figures[part])}")
    if options.quick or options.part:
        return
    figures["date"] = datetime.date.today().isoformat()
    figures["versions"] = {name: version(name) for name in ("torch", "numpy", "scikit-learn", "gradclinic")}
    figures["versions"]["python"] = platform.python_version()
    finished = KEPT.with_suffix(".tmp")
    finished.write_text(json.dumps(figures, indent=1) + "\n")
    finished.replace(KEPT)


if __name__ == "__main__":
    main()
