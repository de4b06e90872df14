"""How ``gradclinic.diagnose`` does on faults that other people reported, and on runs that work.

    python benchmarks/field                # both halves; keeps the table in book/assets/field.json
    python benchmarks/field --half tune    # one of them; keeps nothing
    python benchmarks/field --show NAME    # what is said of the cases whose name holds NAME

Rules were set with a view of the half "tune". Half "held" has other kinds of programs, and was scored once, at the end.
Finished runs are kept in ``_build/benchmarks/field``, so rules can be changed without training again.
"""

import argparse
import datetime
import hashlib
import importlib
import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent))

from case import CASES, HEALTHY, Case, Setup, trained

from gradclinic.diagnosis import Diagnosis, diagnose
from gradclinic.record import Record
from gradclinic.recorder import Recorder
from gradclinic.remedies import GUIDE, Remedy

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PLACE = ROOT / "_build" / "benchmarks" / "field"
KEPT = ROOT / "book" / "assets" / "field.json"
HALVES = {
    "tune": ("tables", "images", "recurrent", "generative", "metric", "text"),
    "held": ("transformers", "finetuning", "signals", "reinforcement", "physics", "graphs"),
}
# Names of remedies that the harness applies to a run by itself; others say which line to change, and mend what the
# case's own fix mends if they are what the guide has for its kind.
APPLIED = {"initialization", "normalization", "clipping"}


def _key(case: Case) -> str:
    """Changes with the program and with what a recorder sees."""
    sources = [HERE / "programs" / f"{case.program}.py", *sorted((ROOT / "gradclinic" / "recording").glob("*.py"))]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]


Watched = tuple[Record, float | None]


def run(case: Case, variant: str, every: int | None = None, **settings) -> tuple[float, list[Watched]]:
    """Score and records of one run; each record with the loss of the best constant answer, if the case knows it."""
    chances: list[float | None] = []

    def watcher(model, chance, loss_falls):
        chances.append(chance)
        return Recorder(model, every=every, loss_falls=loss_falls)

    name = "-".join([case.name, variant, str(every), *(f"{k}{v}" for k, v in settings.items()), _key(case)])
    about = PLACE / f"{name}.json"
    if about.exists():
        known = json.loads(about.read_text())
        return known["score"], [(Record.load(PLACE / f"{name}-{n}.npz"), c) for n, c in enumerate(known["chances"])]
    watched = not settings
    setup = Setup(watcher=watcher if watched else None, **settings)
    score = trained(case, variant, setup)
    records = [recorder.record for recorder in setup.recorders]
    PLACE.mkdir(parents=True, exist_ok=True)
    for number, record in enumerate(records):
        record.save(PLACE / f"{name}-{number}.npz")
    about.write_text(json.dumps({"score": score, "chances": chances}))
    return score, list(zip(records, chances, strict=True))


def verdict(records: list[Watched], chance: bool) -> Diagnosis:
    """Of several recorders (a game of two networks) the first that is alarmed speaks; then the first undecided."""
    found = [
        diagnose(replace(record, chance_loss=float(known)) if chance and known is not None else record)
        for record, known in records
    ]
    order = [*(d for d in found if d.alarming), *(d for d in found if not d.healthy), *found]
    return order[0]


# --- the rules of others, as far as norms and losses tell -----------------------------------------------------------


def plain_norms(record: Record) -> str:
    """A gradient norm of the first or last layer below 1e-4 or above 100, or not finite."""
    norms = record.gradient_norm[:, [0, -1]] if record.layers else np.empty((0, 2))
    known = norms[np.isfinite(norms)]
    if record.nonfinite.any() or (known > 100).any():
        return "exploding"
    return "vanishing" if (known < 1e-4).any() else HEALTHY


def autotrainer(record: Record) -> str:
    """Zhang et al. 2021 (ICSE), table 1: without its accuracy, which a record does not hold."""
    first, last = (record.gradient_norm[:, [0, -1]] if record.layers else np.empty((0, 2))).T
    losses = record.told_loss
    if record.nonfinite.any() or not np.isfinite(losses).all() or (losses >= 1e5).any():
        return "exploding"
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = first / last
    if ((ratio < 1e-3) & (first < 1e-4)).any():
        return "vanishing"
    return "exploding" if (ratio > 70).any() else HEALTHY


PEERS = {"AutoTrainer, without accuracy": autotrainer, "plain norm thresholds": plain_norms}


def applied(case: Case, remedy: Remedy) -> bool:
    """Whether a remedy mends the case: tried, where it is a setting; where it is a line of code, if it is the fix."""
    if remedy.factor is not None:
        settings = {"lr_times": remedy.factor}
    elif remedy.name in APPLIED:
        settings = {"remedy": remedy.name}
    elif remedy.name == "activation":
        settings = {"remedy": "relu" if "sigmoid" in remedy.advice else "leaky"}
    else:
        right = [r for c, remedies in GUIDE.items() if c.kind in (case.kind, *case.also) for r in remedies[:1]]
        return remedy in right
    try:
        return run(case, "faulty", **settings)[0] >= case.passes
    except (AttributeError, RuntimeError, ValueError):  # it does not fit this network
        return False


def report(cases: list[Case]) -> dict[str, object]:
    """All figures of some cases."""
    rows = []
    for case in tqdm(cases, desc="training", unit="case", disable=None):
        for variant in ("faulty", "fixed") if case.kind != HEALTHY else ("fixed",):
            score, records = run(case, variant)
            works = score >= case.passes
            if works != (variant == "fixed"):
                rows.append({"case": case.name, "variant": variant, "left out": f"score {score:.2f}"})
                continue
            said, told = verdict(records, False), verdict(records, True)
            often = verdict(run(case, variant, every=1)[1], False)
            row = {"case": case.name, "variant": variant, "truth": HEALTHY if works else case.kind, "style": case.style}
            row |= {"said": said.kind, "with chance": told.kind, "every step": often.kind}
            row["right"] = said.kind in (case.kind, *case.also) if not works else said.kind == HEALTHY
            row["right with chance"] = told.kind in (case.kind, *case.also) if not works else told.kind == HEALTHY
            for name, rule in PEERS.items():
                kinds = [rule(record) for record, _ in records]
                row[name] = next((kind for kind in kinds if kind != HEALTHY), HEALTHY)
            row["also found"] = [f.kind for f in said.findings[1:]]
            if not works and said.remedies:
                row["mended"] = applied(case, said.remedies[0])
            rows.append(row)
    return summary(rows)


def summary(rows: list[dict]) -> dict[str, object]:
    kept = [row for row in rows if "truth" in row]
    broken = [row for row in kept if row["truth"] != HEALTHY]
    fine = [row for row in kept if row["truth"] == HEALTHY]
    offered = [row["mended"] for row in broken if "mended" in row]

    def count(some: Iterable[dict], name: str, wanted) -> int:
        return sum(wanted(row[name]) for row in some)

    figures = {}
    for name, right in (("said", "right"), ("with chance", "right with chance")):
        figures[name] = {
            "broken": len(broken),
            "right": sum(row[right] for row in broken),
            "undecided": count(broken, name, lambda kind: kind == "undecided"),
            "healthy": count(broken, name, lambda kind: kind == HEALTHY),
            "works": len(fine),
            "called healthy": count(fine, name, lambda kind: kind == HEALTHY),
            "alarms": count(fine, name, lambda kind: kind not in (HEALTHY, "undecided")),
        }
    for name in PEERS:
        rights = [row[name] in (case.kind, *case.also) for row in broken for case in [CASES[row["case"]]]]
        figures[name] = {
            "broken": len(broken),
            "right": sum(rights),
            "undecided": 0,
            "healthy": count(broken, name, lambda kind: kind == HEALTHY),
            "works": len(fine),
            "called healthy": count(fine, name, lambda kind: kind == HEALTHY),
            "alarms": count(fine, name, lambda kind: kind != HEALTHY),
        }
    by_kind = Counter((row["truth"], row["said"]) for row in broken)
    return {
        **figures,
        "first remedy": {"offered": len(offered), "mends": sum(offered)},
        "same verdict with every step": [sum(row["said"] == row["every step"] for row in kept), len(kept)],
        "confusion": [[truth, said, number] for (truth, said), number in sorted(by_kind.items())],
        "rows": rows,
    }


def written(figures: dict) -> str:
    lines = []
    for row in figures["rows"]:
        if "left out" in row:
            lines.append(f"left out: {row['case']} {row['variant']}: {row['left out']}")
            continue
        alarm = row["truth"] == HEALTHY and row["said"] not in (HEALTHY, "undecided")
        mark = "ok " if row["right"] else "ALARM" if alarm else "HEALTHY" if row["said"] == HEALTHY else "-"
        extra = (
            ""
            if row["said"] == row["with chance"] == row["every step"]
            else (f"; with chance {row['with chance']}, every step {row['every step']}")
        )
        mended = {True: ", mended", False: ", not mended"}.get(row.get("mended"), "")
        lines.append(
            f"{mark:8}{row['case']:44}{row['truth']:24} -> {row['said']}{mended}{extra} {row['also found'] or ''}"
        )
    return "\n".join([*lines, "", *(f"{k}: {v}" for k, v in figures.items() if k not in ("rows", "confusion"))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=HALVES, help="only one; keeps nothing")
    parser.add_argument("--train", action="store_true", help="only train, and look at nothing")
    parser.add_argument("--show", help="what is said of some cases")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    figures = {}
    for half in HALVES if options.half is None else (options.half,):
        for program in HALVES[half]:
            if (HERE / "programs" / f"{program}.py").exists():
                importlib.import_module(f"programs.{program}")
        cases = [case for case in CASES.values() if case.program in HALVES[half]]
        if options.train:
            for case in cases:
                for variant in case.variants[::2]:
                    run(case, variant)
            continue
        if options.show:
            for case in (case for case in cases if options.show in case.name):
                for variant in case.variants[::2]:
                    print(f"=== {case.name} {variant}: {case.kind}: {case.fault}; {case.cause}")
                    for chance in (False, True):
                        print(verdict(run(case, variant)[1], chance), "\n")
            continue
        figures[half] = report(cases)
        print(f"\n=== {half} ===\n{written(figures[half])}")
    if options.train or options.show or options.half:
        return
    figures["date"] = datetime.date.today().isoformat()
    figures["versions"] = {name: version(name) for name in ("torch", "gradclinic")}
    finished = KEPT.with_suffix(".tmp")
    finished.write_text(json.dumps(figures, indent=1) + "\n")
    finished.replace(KEPT)


if __name__ == "__main__":
    main()
