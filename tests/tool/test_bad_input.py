"""Whoever calls a function of the tool wrongly reads what was wrong: what was given, and what would be right."""

import math
from collections import OrderedDict

import matplotlib
import pytest
import torch
from torch import nn

from gradclinic import arguments, callbacks, diagnosis, plots, recorder, tensorboard
from gradclinic.record import Record
from gradclinic.recorder import Recorder, probe
from tests.helpers import refusals

NAN = math.nan
ACTIVATIONS = r"linear.*relu.*tanh.*sigmoid"


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


PATH = torch.ones(4, 2)
SPREAD = {"relu": {1: [0.9, 0.8], 20: [0.7, 0.6]}}

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
    # plots
    (plots.regime, lambda: plots.regime(-1.0), ValueError, r"at least 0.*-1\.0"),
    (plots.regime, lambda: plots.regime("low"), ValueError, r"'low'"),
    (plots.descent_path, lambda: plots.descent_path(torch.ones(1, 2), [1, 1]), ValueError, r"steps \+ 1.*\(1, 2\)"),
    (plots.descent_path, lambda: plots.descent_path(torch.ones(7), [1, 1]), ValueError, r"steps \+ 1.*\(7,\)"),
    (plots.descent_path, lambda: plots.descent_path(PATH, [1.5]), ValueError, r"two numbers above 0.*1\.5"),
    (plots.descent_path, lambda: plots.descent_path(PATH, [1, -3]), ValueError, r"two numbers above 0.*-3"),
    (plots.descent_error, lambda: plots.descent_error(torch.ones(1, 2), 1.0), ValueError, r"steps \+ 1.*\(1, 2\)"),
    (plots.descent_error, lambda: plots.descent_error(PATH, -0.5), ValueError, r"rate_times_curvature.*0.*-0\.5"),
    (plots.activation_and_slope, lambda: plots.activation_and_slope("sig"), ValueError, rf"'sig'.*{ACTIVATIONS}"),
    (plots.saturation, lambda: plots.saturation("tanh", torch.zeros(0, 4), 0.5), ValueError, r"at least one.*\(0, 4\)"),
    (plots.saturation, lambda: plots.saturation("tanh", torch.zeros(4), 50), ValueError, r"between 0 and 1.*50"),
    (plots.saturation, lambda: plots.saturation("tahn", torch.zeros(4), 0.5), ValueError, rf"'tahn'.*{ACTIVATIONS}"),
    (
        plots.gradient_profile,
        lambda: plots.gradient_profile(torch.ones(3), torch.ones(3)),
        ValueError,
        r"seeds.*\(3,\)",
    ),
    (
        plots.gradient_profile,
        lambda: plots.gradient_profile(torch.ones(2, 3), torch.ones(4)),
        ValueError,
        r"\(2, 3\).*4",
    ),
    (plots.gradient_profile, lambda: plots.gradient_profile(torch.ones(0, 3), torch.ones(3)), ValueError, r"\(0, 3\)"),
    (plots.gradient_flow, lambda: plots.gradient_flow("record"), TypeError, r"Record.*'record'"),
    (plots.gradient_flow, lambda: plots.gradient_flow(record(0)), ValueError, r"empty.*0 steps"),
    (plots.gradient_flow, lambda: plots.gradient_flow(record(2), row=5), ValueError, r"-2 and 1.*5"),
    (plots.update_ratios, lambda: plots.update_ratios(None), TypeError, r"Record.*None"),
    (plots.update_ratios, lambda: plots.update_ratios(record(0)), ValueError, r"empty.*0 steps"),
    (plots.update_ratios, lambda: plots.update_ratios(record(), layers=[0]), ValueError, r"1 to 2.*\[0\]"),
    (plots.update_ratios, lambda: plots.update_ratios(record(), layers=[1, 9]), ValueError, r"1 to 2.*9"),
    (plots.update_ratios, lambda: plots.update_ratios(record(), layers=[]), ValueError, r"1 to 2.*\[\]"),
    (plots.learning_curve, lambda: plots.learning_curve([], 0.5, "x"), ValueError, r"at least one.*\[\]"),
    (plots.learning_curve, lambda: plots.learning_curve([1.0], 97, "x"), ValueError, r"between 0 and 1.*97"),
    (plots.accuracy_by_depth, lambda: plots.accuracy_by_depth({}), ValueError, r"between 1 and 4.*\[\]"),
    (
        plots.accuracy_by_depth,
        lambda: plots.accuracy_by_depth({c: {1: [1.0]} for c in "abcde"}),
        ValueError,
        r"1 and 4.*'e'",
    ),
    (plots.accuracy_by_depth, lambda: plots.accuracy_by_depth(SPREAD, 7, "relu"), ValueError, r"7.*relu: \[1, 20\]"),
    (
        plots.accuracy_by_depth,
        lambda: plots.accuracy_by_depth(SPREAD, 1, "tanh"),
        ValueError,
        r"'tanh'.*relu: \[1, 20\]",
    ),
    (plots.loss_along_gradient, lambda: plots.loss_along_gradient([0.0], {}), ValueError, r"vanishing.*healthy.*\[\]"),
    (
        plots.loss_along_gradient,
        lambda: plots.loss_along_gradient([0.0], {"odd": [1.0]}),
        ValueError,
        r"vanishing.*'odd'",
    ),
    (
        plots.loss_along_gradient,
        lambda: plots.loss_along_gradient([0.0], {"healthy": [1, 2]}),
        ValueError,
        r"1 dist.*\[2\]",
    ),
    (plots.phase_diagram, lambda: plots.phase_diagram("sig", {1.0: [1.0]}), ValueError, rf"'sig'.*{ACTIVATIONS}"),
    (plots.phase_diagram, lambda: plots.phase_diagram("tanh", {}), ValueError, r"weight scales above 0.*\{\}"),
    (plots.phase_diagram, lambda: plots.phase_diagram("tanh", {0.0: [1.0]}), ValueError, r"above 0.*0\.0"),
    (plots.phase_diagram, lambda: plots.phase_diagram("tanh", {2.0: []}), ValueError, r"at least one factor.*\[\]"),
    (plots.phase_diagram, lambda: plots.phase_diagram("tanh", {2.0: [1.0]}, 3.0), ValueError, r"3\.0.*2\.0"),
    (plots.overflow, lambda: plots.overflow([1.0], [0.0], 3.0), ValueError, r"seeds.*\(1,\)"),
    (plots.overflow, lambda: plots.overflow([[1.0, 2.0]], [0.0], 3.0), ValueError, r"\(1, 2\) and \(1,\)"),
    (plots.overflow, lambda: plots.overflow([[1.0]], [0.0], 0), ValueError, r"predicted_layer.*from 1.*0"),
    (plots.overflow, lambda: plots.overflow([[1.0]], [0.0], NAN), ValueError, r"predicted_layer.*from 1.*nan"),
    (plots.gradient_size, lambda: plots.gradient_size(torch.ones(1), 1.0, 1.0), ValueError, r"steps \+ 1.*\(1,\)"),
    (plots.gradient_size, lambda: plots.gradient_size(PATH, 1.0, 1.0), ValueError, r"steps \+ 1, 1\).*2\)"),
    (plots.gradient_size, lambda: plots.gradient_size(torch.ones(5), 0.0, 1.0), ValueError, r"curvature.*above 0.*0"),
    (plots.gradient_size, lambda: plots.gradient_size(torch.ones(5), 1.0, -2), ValueError, r"learning_rate.*-2"),
    (plots.remedies, lambda: plots.remedies({}, {}), ValueError, r"at least one.*\[\] and \[\]"),
    (plots.remedies, lambda: plots.remedies({"a": [1.0]}, {"b": [1.0]}), ValueError, r"same.*\['a'\] and \['b'\]"),
    (plots.remedies, lambda: plots.remedies({"a": [1.0]}, {"a": []}), ValueError, r"at least one value.*\['a'\]"),
    (plots.signal_by_step, lambda: plots.signal_by_step(3), TypeError, r"Record.*3"),
    (plots.signal_by_step, lambda: plots.signal_by_step(record(0)), ValueError, r"empty.*0 steps"),
    (plots.signal_by_step, lambda: plots.signal_by_step(record(2), rows=[]), ValueError, r"1 to 4.*\[\]"),
    (plots.signal_by_step, lambda: plots.signal_by_step(record(2), rows=[2]), ValueError, r"-2 to 1.*\[2\]"),
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
    (plots.there_and_back, lambda: plots.there_and_back([1.0], [1.0], "n"), ValueError, r"\(seeds, points\).*\(1,\)"),
    (plots.there_and_back, lambda: plots.there_and_back([[1.0]], [[1.0, 2.0]], "n"), ValueError, "same number"),
    (plots.singular_values, lambda: plots.singular_values({}, "n"), ValueError, r"between 1 and 4 starts.*\[\]"),
    (plots.singular_values, lambda: plots.singular_values({"a": [[0.0, 0.0]]}, "n"), ValueError, "above 0"),
    (plots.singular_values, lambda: plots.singular_values({"a": [[1.0]]}, "n", 0.0), ValueError, r"least.*above 0.*0"),
    (plots.against, lambda: plots.against([1.0], {}, "t", ("x", "y")), ValueError, r"between 1 and 4 curves.*\[\]"),
    (
        plots.against,
        lambda: plots.against([2.0, 1.0], {"a": [[0.1, 0.2]]}, "t", ("x", "y")),
        ValueError,
        r"2 rising numbers.*\[2\.0, 1\.0\]",
    ),
    (plots.float16_window, lambda: plots.float16_window([]), ValueError, r"at least one layer.*none"),
    (plots.float16_window, lambda: plots.float16_window([PATH], NAN), ValueError, r"exponent.*finite.*nan"),
    (plots.float16_window, lambda: plots.float16_window([PATH], "8"), TypeError, r"exponent.*'8'"),
    (plots.through_time, lambda: plots.through_time({}), ValueError, r"between 1 and 4 networks.*\[\]"),
    (plots.through_time, lambda: plots.through_time({"a": [1.0, 2.0]}), ValueError, r"\(seeds, points\).*\(2,\)"),
    (
        plots.through_time,
        lambda: plots.through_time({"a": [[1.0]], "b": [[1.0, 2.0]]}),
        ValueError,
        r"same number.*\(1, 1\).*\(1, 2\)",
    ),
    (plots.through_time, lambda: plots.through_time({"a": [[1.0, 1.0]]}, [1.0]), ValueError, r"\(2,\).*\(1,\)"),
    (plots.cell_memory, lambda: plots.cell_memory({"a": [[1.0]]}, [1.0, 2.0], 1.0), ValueError, r"\(1,\).*\(2,\)"),
    (plots.cell_memory, lambda: plots.cell_memory({"a": [[1.0]]}, [1.0], -3.0), ValueError, r"horizon.*above 0.*-3\.0"),
    (
        plots.training_compared,
        lambda: plots.training_compared({"a": [[1.0]]}, NAN, "t"),
        ValueError,
        r"reference.*finite.*nan",
    ),
    (plots.training_compared, lambda: plots.training_compared({}, 1.0, "t"), ValueError, r"between 1 and 4.*\[\]"),
    (
        plots.surface_walk,
        lambda: plots.surface_walk([0, 1], [0, 1], [[1.0]], PATH, "x"),
        ValueError,
        r"2 points.*\(1, 1\)",
    ),
    (
        plots.surface_walk,
        lambda: plots.surface_walk([0, 1], [0, 1], torch.ones(2, 2), torch.ones(1, 2), "x"),
        ValueError,
        r"steps \+ 1.*\(1, 2\)",
    ),
    (
        plots.clipped_arrows,
        lambda: plots.clipped_arrows(torch.zeros(2), 1.0),
        ValueError,
        r"not both 0.*\[0\.0, 0\.0\]",
    ),
    (plots.clipped_arrows, lambda: plots.clipped_arrows(torch.ones(3), 1.0), ValueError, r"two numbers.*1\.0, 1\.0\]"),
    (plots.clipped_arrows, lambda: plots.clipped_arrows(torch.ones(2), 0), ValueError, r"threshold.*above 0.*0"),
    (plots.clipping_threshold, lambda: plots.clipping_threshold([], 1.0), ValueError, r"at least one norm.*\(0,\)"),
    (plots.clipping_threshold, lambda: plots.clipping_threshold([1.0], -2), ValueError, r"threshold.*above 0.*-2"),
    (plots.clipping_threshold, lambda: plots.clipping_threshold([1.0], 1, 80), ValueError, r"between 0 and 1.*80"),
    (plots.step_sizes, lambda: plots.step_sizes({}, 0), ValueError, r"between 1 and 4 optimisers.*\[\]"),
    (plots.step_sizes, lambda: plots.step_sizes({"SGD": [1.0, 2.0]}, 7), ValueError, r"0 to 1, got 7"),
    # tensorboard
    (tensorboard.write, lambda: tensorboard.write("run", "logs"), TypeError, r"Record.*'run'"),
    (tensorboard.write, lambda: tensorboard.write(record(0), "logs"), ValueError, r"empty.*0 steps.*at least one"),
    (tensorboard.write, lambda: tensorboard.write(record(), 5), TypeError, r"logdir.*path.*5"),
    (tensorboard.write, lambda: tensorboard.write(record(), __file__), FileExistsError, r"test_bad_input.*already"),
    # callbacks
    *(
        (make, lambda make=make, bad=bad: make(**bad), error, message)
        for make in (callbacks.lightning_callback, callbacks.transformers_callback)
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


def test_a_refused_figure_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    with pytest.raises(ValueError, match="at least one"):
        plots.learning_curve([], 0.5, "x")
    assert dict(matplotlib.rcParams) == before, "an error must not leave the course's style behind"
