"""Whoever calls a function of the tool wrongly reads what was wrong: what was given, and what would be right."""

import math
from collections import OrderedDict

import torch
from torch import nn
from torch.nn.functional import mse_loss

from gradclinic import (
    arguments,
    chance,
    diagnosis,
    lightning,
    monitor,
    plots,
    recorder,
    remedies,
    tensorboard,
    trace,
    transformers,
)
from gradclinic.record import Record
from gradclinic.recorder import Recorder, probe
from tests.helpers import refusals

NAN = math.nan


def network() -> nn.Sequential:
    layers = {"layer1": nn.Linear(4, 3), "activation1": nn.Tanh(), "readout": nn.Linear(3, 2)}
    return nn.Sequential(OrderedDict(layers))


def batch(examples: int, labels: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(examples, 4), torch.zeros(labels, dtype=torch.int64)


def record(steps: int = 2):
    model = network()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    recorder = Recorder(model)
    with recorder:
        for _ in range(steps):
            recorder.capture()
    return recorder.record


BAD = [
    # arguments
    (arguments.number, lambda: arguments.number("share", "half"), TypeError, r"share.*number.*'half'"),
    (arguments.number, lambda: arguments.number("share", 1.5, maximum=1), ValueError, r"share.*at most 1.*1\.5"),
    (arguments.whole, lambda: arguments.whole("steps", 2.0), TypeError, r"steps.*integer.*2\.0"),
    (arguments.whole, lambda: arguments.whole("steps", 0), ValueError, r"steps.*at least 1.*0"),
    # recorder
    (recorder.Recorder, lambda: Recorder("resnet"), TypeError, r"nn\.Module.*'resnet'"),
    (recorder.Recorder, lambda: Recorder(nn.ReLU()), ValueError, r"ReLU.*no parameters"),
    (recorder.Recorder, lambda: Recorder(network(), every=0), ValueError, r"every.*at least 1.*0"),
    (recorder.Recorder, lambda: Recorder(network(), every=1.5), TypeError, r"every.*integer.*1\.5"),
    (recorder.Recorder, lambda: Recorder(network(), every=True), TypeError, r"every.*integer.*True"),
    (recorder.Recorder, lambda: Recorder(network(), loss_falls="no"), TypeError, r"loss_falls.*True or False.*'no'"),
    (recorder.probe, lambda: probe(3, torch.zeros(1, 4), torch.zeros(1)), TypeError, r"nn\.Module.*3"),
    (recorder.probe, lambda: probe(nn.Tanh(), torch.zeros(1, 4), torch.zeros(1)), ValueError, r"Tanh.*no parameters"),
    (recorder.probe, lambda: probe(network(), *batch(0, 0)), ValueError, r"at least one.*empty"),
    (recorder.probe, lambda: probe(network(), *batch(4, 3)), ValueError, r"4.*3"),
    # record
    (Record.save, lambda: record().save(5), TypeError, r"path must be a path.*5"),
    (Record.load, lambda: Record.load(None), TypeError, r"path must be a path.*None"),
    (Record.load, lambda: Record.load(__file__), ValueError, r"test_bad_input.*is no record"),
    (Record.then, lambda: record().then("run"), TypeError, r"then needs a Record.*str"),
    # diagnosis
    (diagnosis.diagnose, lambda: diagnosis.diagnose(None), TypeError, r"recorder\.record.*NoneType"),
    (diagnosis.diagnose, lambda: diagnosis.diagnose(Recorder(network())), TypeError, r"recorder\.record.*Recorder"),
    # chance and trace
    (chance.chance_loss, lambda: chance.chance_loss([0, 1]), TypeError, r"targets.*tensor.*list"),
    (chance.chance_loss, lambda: chance.chance_loss(torch.ones(3), "mse"), TypeError, r"loss.*function.*'mse'"),
    (chance.chance_loss, lambda: chance.chance_loss(torch.ones(0), mse_loss), ValueError, r"at least one.*none"),
    (chance.chance_loss, lambda: chance.chance_loss(torch.tensor([NAN]), mse_loss), ValueError, r"finite.*NaN"),
    (chance.chance_loss, lambda: chance.chance_loss(torch.ones(3), torch.sub), ValueError, r"one number"),
    (trace.trace_nonfinite, lambda: trace.trace_nonfinite("net", batch(4, 4), mse_loss), TypeError, r"Module.*'net'"),
    (trace.trace_nonfinite, lambda: trace.trace_nonfinite(network(), [1], mse_loss), TypeError, r"pair|inputs.*list"),
    # plots
    (plots.regime, lambda: plots.regime(-1.0), ValueError, r"at least 0.*-1\.0"),
    (plots.regime, lambda: plots.regime("low"), TypeError, r"number.*'low'"),
    (plots.gradient_flow, lambda: plots.gradient_flow("record"), TypeError, r"Record.*'record'"),
    (plots.gradient_flow, lambda: plots.gradient_flow(record(0)), ValueError, r"empty.*0 steps"),
    (plots.gradient_flow, lambda: plots.gradient_flow(record(2), row=5), ValueError, r"-2 and 1.*5"),
    (plots.update_ratios, lambda: plots.update_ratios(None), TypeError, r"Record.*None"),
    (plots.update_ratios, lambda: plots.update_ratios(record(0)), ValueError, r"empty.*0 steps"),
    (plots.update_ratios, lambda: plots.update_ratios(record(), layers=[1.5]), TypeError, r"integer.*1\.5"),
    (plots.update_ratios, lambda: plots.update_ratios(record(), layers=[0]), ValueError, r"each of layers.*1 and 2.*0"),
    (
        plots.update_ratios,
        lambda: plots.update_ratios(record(), layers=[1, 9]),
        ValueError,
        r"each of layers.*1 and 2.*9",
    ),
    (plots.update_ratios, lambda: plots.update_ratios(record(), layers=[]), ValueError, r"1 to 2.*\[\]"),
    (plots.signal_by_step, lambda: plots.signal_by_step(3), TypeError, r"Record.*3"),
    (plots.signal_by_step, lambda: plots.signal_by_step(record(0)), ValueError, r"empty.*0 steps"),
    (plots.signal_by_step, lambda: plots.signal_by_step(record(2), rows=[]), ValueError, r"1 to 4.*\[\]"),
    (plots.signal_by_step, lambda: plots.signal_by_step(record(2), rows=[0.5]), TypeError, r"integer.*0\.5"),
    (plots.signal_by_step, lambda: plots.signal_by_step(record(2), rows=[2]), ValueError, r"each of rows.*-2 and 1.*2"),
    (plots.signal_by_step, lambda: plots.signal_by_step(record(2), rows=[0] * 5), ValueError, r"1 to 4.*0, 0, 0"),
    (plots.gradient_flow, lambda: plots.gradient_flow(record(2), row=0.5), TypeError, r"row.*integer.*0\.5"),
    (plots.gradient_histograms, lambda: plots.gradient_histograms([1]), TypeError, r"Record.*\[1\]"),
    (plots.gradient_histograms, lambda: plots.gradient_histograms(record(0)), ValueError, r"empty.*0 steps"),
    (plots.gradient_histograms, lambda: plots.gradient_histograms(record(2), row=-3), ValueError, r"-2 and 1.*-3"),
    (plots.gradient_histograms, lambda: plots.gradient_histograms(record(2), row=True), TypeError, r"integer.*True"),
    (plots.gradient_norms, lambda: plots.gradient_norms("run"), TypeError, r"Record.*'run'"),
    (plots.gradient_norms, lambda: plots.gradient_norms(record(0)), ValueError, r"empty.*0 steps"),
    (plots.weight_growth, lambda: plots.weight_growth(network()), TypeError, r"Record.*Sequential"),
    (plots.weight_growth, lambda: plots.weight_growth(record(0)), ValueError, r"empty.*0 steps"),
    (plots.units, lambda: plots.units(5), TypeError, r"Record.*5"),
    (plots.units, lambda: plots.units(record(0)), ValueError, r"empty.*0 steps"),
    (plots.loss_curve, lambda: plots.loss_curve([2.3, 1.0]), TypeError, r"Record.*\[2\.3, 1\.0\]"),
    (plots.loss_curve, lambda: plots.loss_curve(record(0)), ValueError, r"empty.*0 steps"),
    (plots.dashboard, lambda: plots.dashboard(None), TypeError, r"Record.*None"),
    (plots.dashboard, lambda: plots.dashboard(record(0)), ValueError, r"empty.*0 steps"),
    # tensorboard
    (tensorboard.write, lambda: tensorboard.write("run", "logs"), TypeError, r"Record.*'run'"),
    (tensorboard.write, lambda: tensorboard.write(record(0), "logs"), ValueError, r"empty.*0 steps.*at least one"),
    (tensorboard.write, lambda: tensorboard.write(record(), 5), TypeError, r"logdir.*path.*5"),
    (tensorboard.write, lambda: tensorboard.write(record(), __file__), FileExistsError, r"test_bad_input.*already"),
    (tensorboard.empty_folder, lambda: tensorboard.empty_folder(5), TypeError, r"logdir.*path.*5"),
    # remedies
    (remedies.advised, lambda: remedies.advised("healthy"), ValueError, r"dying ReLU, .*vanishing.*'healthy'"),
    (remedies.learning_rate, lambda: remedies.learning_rate("10"), TypeError, r"factor.*number.*'10'"),
    (remedies.learning_rate, lambda: remedies.learning_rate(0), ValueError, r"factor.*above 0.*0"),
    # callbacks
    *(
        (make, lambda make=make, bad=bad: make(**bad), error, message)
        for make in (monitor.Monitor, lightning.DiagnosisCallback, transformers.DiagnosisCallback)
        for bad, error, message in (
            ({"logdir": 5}, TypeError, r"logdir.*path.*5"),
            ({"logdir": __file__}, FileExistsError, r"test_bad_input.*already"),
            ({"check_every": 0}, ValueError, r"check_every.*at least 1.*0"),
            ({"check_every": 1.5}, TypeError, r"check_every.*1\.5"),
            ({"every": 0}, ValueError, r"every.*at least 1.*0"),
        )
    ),
]


@refusals.refused(BAD)
def test_a_wrong_argument_is_refused_by_its_name(call, error, message):
    refusals.check(call, error, message)


def test_every_public_function_of_the_tool_has_its_bad_inputs_in_the_table():
    assert len(refusals.public_callables("gradclinic")) > 10
    missing = refusals.unlisted(BAD, "gradclinic")
    assert not missing, f"add what {missing} should refuse to the table in this file"
