"""``python -m gradclinic demo`` finds what is broken and mends it, by the remedies that its own diagnoses recommend."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import gradclinic.__main__ as command
from gradclinic.diagnosis import GUIDE, KINDS, Diagnosis, Remedy


def test_the_demo_names_the_fault_applies_the_remedy_and_ends_healthy():
    ended = subprocess.run([sys.executable, "-m", "gradclinic", "demo"], capture_output=True, text=True, check=True)
    told = ended.stdout
    found = re.findall(r"^Diagnosis after \d+ steps: (.*)$", told, re.MULTILINE)
    assert found == ["vanishing", "learning rate too low", "healthy"]
    trainings = re.findall(r"^--- Training (\d): (.*)$", told, re.MULTILINE)
    assert trainings == [
        ("1", "activation sigmoid, init xavier, learning rate 1e-05"),
        ("2", "activation relu, init he, learning rate 1e-05"),
        ("3", "activation relu, init he, learning rate 0.001"),
    ]
    advice = re.findall(r"^  1\. (.*) \(book", told, re.MULTILINE)
    assert advice == [
        "Replace the sigmoid by ReLU, with He's starting weights.",
        "Multiply the learning rate by about 100.",
    ]
    shown = Path(__file__).parents[2].joinpath("README.md").read_text().split("-m gradclinic demo\n")[1].split("```")[0]
    seen = re.sub(r"after \d+ steps", "after 260 steps", told).splitlines()
    assert [line for line in shown.splitlines() if line not in seen] == [], "README shows what is printed"
    assert shown.count("Diagnosis after") == 3
    reads = [int(share) for share in re.findall(r"^It reads (\d+)%", told, re.MULTILINE)]
    assert reads[0] < 15 and reads[-1] > 75, f"a tenth is guessing; it reads {reads}"


def test_what_is_changed_comes_from_the_diagnosis(monkeypatch, capsys):
    normalize, quicker = GUIDE["exploding"][1], Remedy("learning rate", "Multiply.", "optimization", 1000.0)
    verdicts = iter([(normalize,), (quicker,), ()])
    monkeypatch.setattr(command, "EPOCHS", 1)
    monkeypatch.setattr(command, "diagnose", lambda record: Diagnosis("undecided", (), ("x",), next(verdicts), 22))
    command.demo()
    trainings = re.findall(r"^--- Training \d: (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert trainings == [
        "activation sigmoid, init xavier, learning rate 1e-05",
        "activation sigmoid, init xavier, norm batch, learning rate 1e-05",
        "activation sigmoid, init xavier, norm batch, learning rate 0.01",
    ]


@pytest.mark.parametrize("arguments", [[], ["train"], ["demo", "--fast"]])
def test_anything_else_is_answered_with_how_to_call_it(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        command.main(arguments)
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert said.startswith("usage: python -m gradclinic")
    assert "command" in said or "unrecognized arguments: --fast" in said


def test_every_first_remedy_can_be_followed_by_a_program():
    for activation in ("relu", "tanh", "sigmoid"):
        for case, remedies in GUIDE.items():
            changes = remedies[0].changes(activation, recurrent="time" in case)
            assert changes and changes.keys() <= {"activation", "init", "norm", "cell"}, f"{case}: {changes}"
    assert {case.split(",")[0] for case in GUIDE} <= set(KINDS)
    assert Remedy("learning rate", "Multiply.", "x", 0.1).changes("relu") == {"lr_times": 0.1}
    with pytest.raises(ValueError, match=r"no setting is changed by .*clipping.*Clip the gradient"):
        GUIDE["exploding"][2].changes("relu")
