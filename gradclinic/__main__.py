"""``python -m gradclinic``: diagnose a record that was saved, or see the course's demonstration."""

import argparse
import json
import sys
from pathlib import Path

import torch

from gradclinic import Record, __version__, diagnose

# What the demonstration needs beside torch and numpy: by the name that is imported, the one that is installed.
LIBRARIES = {"scipy": "scipy", "sklearn": "scikit-learn", "tqdm": "tqdm"}


def judge(options: argparse.Namespace) -> int:
    """Print the diagnosis of a saved record; 1 if it is alarming, 2 if there is no record."""
    try:
        diagnosis = diagnose(Record.load(options.file))
    except (OSError, ValueError) as error:
        return refuse("diagnose", str(error))
    print(json.dumps(diagnosis.to_dict(), indent=2) if options.json else diagnosis)
    return int(diagnosis.alarming)


def show(_options: argparse.Namespace) -> int:
    """Run the demonstration; 2 if a library is missing."""
    try:
        from gradclinic.course.demo import demo  # here, because a tool that knows no course has to work without
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in LIBRARIES:
            raise
        return refuse("demo", f"{error}; what it needs comes with: pip install {' '.join(LIBRARIES.values())}")
    torch.set_num_threads(1)  # layers this small are slower on several
    demo()
    return 0


def refuse(command: str, why: str) -> int:
    print(f"python -m gradclinic {command}: {' '.join(why.split())}", file=sys.stderr)
    return 2


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gradclinic", description="Look into the training of a network.")
    parser.add_argument("--version", action="version", version=f"gradclinic {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    about = "a network that does not learn, what is wrong with it, and how it is mended; takes some ten seconds"
    commands.add_parser("demo", help=about, description=about).set_defaults(run=show)
    about = "what is wrong in a run, in which layers, by which numbers, and what to do; FILE is from record.save"
    status = "Exit status: 0 for a run that is healthy or undecided, 1 for a fault, 2 if FILE cannot be read."
    command = commands.add_parser("diagnose", help=about, description=about, epilog=status)
    command.add_argument("file", metavar="FILE", type=Path)
    command.add_argument("--json", action="store_true", help="as JSON, for a program")
    command.set_defaults(run=judge)
    options = parser.parse_args(arguments)
    status_of_run: int = options.run(options)
    return status_of_run


if __name__ == "__main__":
    sys.exit(main())
