"""What tests of several rooms share. A test file imports from here, and from no other test file."""

import os
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def absent(what: str) -> None:
    """Skip a test at home; in CI fail it."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what} is not there")


def page_names() -> list[str]:
    """Every page of the table of contents, as a path inside the site without its suffix."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
