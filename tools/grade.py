"""Assignments in nbgrader's format, marked outside learners' processes.

python tools/grade.py release LAB            enter the lab in the gradebook, and pack what learners get
python tools/grade.py collect LAB --zip ZIP --roster CSV    put what Canvas, Moodle or Blackboard gave into submitted/
python tools/grade.py grade LAB              mark submitted/<student>/LAB/LAB.ipynb, and write grades/LAB/
python tools/grade.py feedback LAB           a page for each learner in feedback/, by nbgrader's own converter
python tools/grade.py appeal LAB STUDENT     show the cases, the learner's answers and the right ones
python tools/grade.py similarity LAB         pack what learners wrote for a tool such as JPlag

The work is done in ``tools/grading/``; its README says what runs where.
"""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this file is run by its path

from tools.grading import groups, lms, plain
from tools.grading.gradebook import Unusable
from tools.grading.jail import ROOT, NoJail
from tools.grading.ledger import Busy, alone, draw
from tools.grading.marks import Ended, set_aside
from tools.grading.marks import in_words as in_words_aside
from tools.grading.tables import Row
from tools.grading.week import explain, give_back, grade, release


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("release", "collect", "grade", "feedback", "appeal", "similarity"))
    parser.add_argument("lab", help="its name, such as 02-vanishing")
    parser.add_argument("student", nargs="?", help="whose mark to explain; with grade, whom to mark again, alone")
    parser.add_argument("--root", type=Path, default=ROOT, help="the course's folder, with submitted/ in it")
    parser.add_argument("--workers", type=int, help="processes side by side; one for each core unless told")
    parser.add_argument("--seed", type=int, help="of the inputs, for the whole class; kept in private unless told")
    parser.add_argument("--new-seed", action="store_true", help="ask the whole class anew")
    parser.add_argument("--zip", type=Path, help="collect: the archive of submissions, as it was downloaded")
    parser.add_argument("--roster", type=Path, help="collect: the table of the class; the last one unless told")
    parser.add_argument("--zone", help="collect: of the times there, such as Europe/Berlin; this machine's unless told")
    arguments = parser.parse_args()
    try:
        print(done(arguments), flush=True)
    except (ValueError, LookupError, NoJail, Busy, Ended, Unusable) as error:
        print(plain.lines(str(error)), file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(plain.lines(in_words(error)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. What was marked is kept: run the same again, and it goes on", file=sys.stderr)
        return 130
    return 0


def in_words(error: OSError) -> str:
    """What to do about a file that cannot be read or written."""
    if error.errno is None:  # one of our own
        return str(error)
    words = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        words = "no space is left on the disk"
    return f"{words}. What was marked is kept: see to it, and run the same again"


def done(arguments: argparse.Namespace) -> str:
    """Carry out a command; returns what to say of it."""
    lab, root, student = arguments.lab, arguments.root.resolve(), arguments.student
    if arguments.command == "release":
        return f"Give learners {release(lab, root)}"
    if arguments.command == "collect":
        if arguments.zip is None:
            raise ValueError(f"which archive? Run: make collect LAB={lab} ZIP=submissions.zip ROSTER=roster.csv")
        source, roster = arguments.zip.expanduser(), arguments.roster and arguments.roster.expanduser()
        with alone(root):
            return lms.summary(lms.collect(lab, root, source, roster, arguments.zone))
    if arguments.command == "similarity":
        return f"One program for each learner, for a tool such as JPlag: {lms.for_similarity(lab, root)}"
    if arguments.command == "appeal":
        if student is None:
            raise ValueError(f"whose mark? Run: python tools/grade.py appeal {lab} STUDENT")
        return explain(lab, student, root).rstrip()
    if arguments.command == "feedback":
        failed = give_back(lab, root, arguments.workers)
        plain_ones = f"\nOnly a plain page, and a flag that says why: {', '.join(failed)}" if failed else ""
        back = f"All of them, named as the platform takes them back: {lms.packed_feedback(lab, root)}"
        return f"The pages are in {root / 'feedback'}/<student>/{lab}/{plain_ones}\n{back}"
    seed = draw() if arguments.new_seed else arguments.seed
    if seed is not None and student is not None:
        raise ValueError("another seed asks the whole class anew: leave out the student")
    print(groups.in_words(groups.kind_here()), flush=True)
    return summary(lab, grade(lab, root, arguments.workers, seed, student=student), root)


def summary(lab: str, rows: Sequence[Row], root: Path) -> str:
    """What to look at after marking."""
    flagged, waiting = sum(bool(row["flags"]) for row in rows), sum(row[lab] == "" for row in rows)
    lines = [f"{len(rows)} learners, {flagged} with a flag: {root / 'grades' / lab / 'grades.csv'}"]
    if waiting:
        lines.append(f"{waiting} have an essay to be read; until then their sum is blank, in the files for Canvas, too")
    if aside := set_aside(root / "submitted", lab):
        lines.append(f"{len(aside)} {in_words_aside(aside)}")
    return "\n".join([*lines, f"The class at a glance: {root / 'grades' / lab / 'class.html'}"])


if __name__ == "__main__":
    sys.exit(main())
