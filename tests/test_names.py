"""Names: the former one is gone, nobody is told to fetch the package from the index, what a document names exists."""

import re
import shutil
import subprocess

import pytest

from tests.helpers import ROOT, absent

FORMER = "grad" + "lab"
# A record kept under the former name still loads: the constant that knows it, and the test that tries it.
MAY_NAME_IT = {"gradclinic/recordfile.py", "tests/tool/test_record.py"}

# `pip install` of the bare name, in any quotes, with extras or a version. A path (`.`, a wheel) or an address
# (`gradclinic[course] @ git+https://...`) is ours and may stand.
NAME = "gradclinic"
FROM_THE_INDEX = re.compile(
    rf"""pip3?\s+install\s(?:[^\n]*[\s"'`\\])?{NAME}(?:\[[^\]\n]*\])?(?!\w|[./\[-]|\s*@)""", re.IGNORECASE
)


@pytest.fixture(scope="module")
def tracked() -> dict[str, str]:
    """Every file that git keeps: its path, and what it says. Bytes that are no text stay one character each."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        absent("the repository, or git")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [path for path in listed.split("\0") if (ROOT / path).is_file()]
    return {path: (ROOT / path).read_bytes().decode("utf-8", errors="replace") for path in paths}


def test_the_former_name_stands_only_where_a_record_of_the_former_format_is_loaded(tracked):
    found = {path for path, text in tracked.items() if FORMER in (path + text).lower()}
    assert found <= MAY_NAME_IT, f"the package is called {NAME}"
    assert tracked["gradclinic/recordfile.py"].lower().count(FORMER) == 1


def test_nobody_is_told_to_fetch_the_package_from_the_index(tracked):
    told = {path: found.group() for path, text in tracked.items() if (found := FROM_THE_INDEX.search(text))}
    assert told == {}, "until the name is registered a stranger's code may come; name what is missing instead"


@pytest.mark.parametrize(
    "requirement",
    [
        NAME,
        f"{NAME}==1.0",
        f'"{NAME}[lightning]"',
        f"'{NAME}[course,plots]>=1'",
        rf"\"{NAME}[lightning]\"",
        rf'"{NAME}\[{{extra}}\]"',
        f"--quiet {NAME}",
        f"torch {NAME}",
        f"{NAME}`.",
        NAME.title(),
    ],
)
def test_advice_to_fetch_it_from_the_index_is_seen(requirement):
    assert FROM_THE_INDEX.search(f"it comes with: pip install {requirement}")
    assert FROM_THE_INDEX.search(f"it comes with: pip3  install {requirement}\n")


@pytest.mark.parametrize(
    "requirement",
    [
        "-e .",
        "--no-deps -e .",
        '".[tensorboard,lightning]"',
        f"git+https://example.org/{NAME}",
        f'"{NAME}[course] @ git+https://example.org/course"',
        rf"\"{NAME}[course] @ git+https://example.org/course\"",
        f"_build/{NAME}-0.1.0-py3-none-any.whl",
        f"./{NAME}",
        "lightning",
        f"lightning\nimport {NAME}",
        f"{NAME}s",
    ],
)
def test_advice_to_fetch_it_from_where_it_is_ours_may_stand(requirement):
    assert not FROM_THE_INDEX.search(f"pip install {requirement}")


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_what_a_document_names_is_there(document, tracked):
    """Files and folders in code or behind a link, and targets of make. `labs/02/x` is ours, `runs/today` a reader's."""
    text = (ROOT / document).read_text()
    kept = {path.split("/")[0] for path in tracked if "/" in path}
    named = re.findall(r"`([\w.-]+/[\w./-]*)|\]\(([\w.-]+[\w./-]*)(?:#[\w-]+)?\)|(?<=python )(tests/[\w./]+)", text)
    paths = {path for found in named for path in found if path and (path.split("/")[0] in kept or "/" not in path)}
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", text)) <= targets
