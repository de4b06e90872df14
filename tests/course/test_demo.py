"""``python -m gradclinic demo`` finds what is broken and mends it, by the remedies that its own diagnoses recommend."""

import re
import subprocess
import sys

from gradclinic.course import demo
from gradclinic.diagnosis import Diagnosis
from gradclinic.remedies import NORMALIZE, learning_rate
from tests.helpers import ROOT


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
    advice = re.findall(r"^  1\. (.*) \(https", told, re.MULTILINE)
    assert advice == [
        "Replace the sigmoid by ReLU, with He's starting weights.",
        "Multiply the learning rate by about 100.",
    ]
    block = (ROOT / "README.md").read_text().split("-m gradclinic demo\n")[1].split("```")[0]
    shown, seen = block.splitlines(), told.splitlines()
    assert [line for line in shown if line not in seen] == [], "README shows what is printed, as it stands"
    places = [seen.index(line) for line in shown if seen.count(line) == 1]
    assert places == sorted(places), "README shows it in the order in which it is printed"
    assert block.count("Diagnosis after") == 3
    reads = [int(share) for share in re.findall(r"^It reads (\d+)%", told, re.MULTILINE)]
    assert reads[0] < 15, f"a tenth is guessing; it reads {reads}"
    assert reads[-1] > 75


def test_what_is_changed_comes_from_the_diagnosis(monkeypatch, capsys):
    verdicts = iter([(NORMALIZE,), (learning_rate(1000.0),), ()])
    monkeypatch.setattr(demo, "EPOCHS", 1)
    monkeypatch.setattr(demo, "diagnose", lambda record: Diagnosis("undecided", (), ("x",), next(verdicts), 22))
    demo.demo()
    trainings = re.findall(r"^--- Training \d: (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert trainings == [
        "activation sigmoid, init xavier, learning rate 1e-05",
        "activation sigmoid, init xavier, norm batch, learning rate 1e-05",
        "activation sigmoid, init xavier, norm batch, learning rate 0.01",
    ]
