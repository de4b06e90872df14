"""Whoever calls a function wrongly reads what was wrong: the value that was given, and what would have been right."""

import dataclasses
import importlib
import inspect
import math
import re

import matplotlib
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from gradclinic import diagnosis, lightning, monitor, plots, recorder, remedies, tensorboard, transformers
from gradclinic.course import data, explore, initializers, models, theory, training, treatment
from gradclinic.course.data import Dataset
from gradclinic.course.models import MLP, ConvNet, RecurrentClassifier
from gradclinic.record import Record
from gradclinic.recorder import Recorder, probe

MODULES = (
    "theory",
    "initializers",
    "models",
    "data",
    "training",
    "recorder",
    "diagnosis",
    "plots",
    "tensorboard",
    "explore",
    "remedies",
    "treatment",
    "monitor",
    "lightning",
    "transformers",
)

NAN, INF = math.nan, math.inf
ACTIVATIONS = r"linear.*relu.*tanh.*sigmoid"
INITIALIZERS = r"pytorch.*xavier.*he.*lecun.*orthogonal"


def small(examples: int = 6, labels: int | None = None, tests: int = 3) -> Dataset:
    labels = examples if labels is None else labels
    return Dataset(
        torch.zeros(examples, 4),
        torch.zeros(labels, dtype=torch.int64),
        torch.zeros(tests, 4),
        torch.zeros(tests, dtype=torch.int64),
    )


def network() -> MLP:
    return MLP(1, 3, in_features=4, out_features=2, seed=0)


def fit(*, model=None, held=None, optimizer=None, epochs=1, **kwargs):
    model = network() if model is None else model
    optimizer = torch.optim.SGD(network().parameters(), lr=0.1) if optimizer is None else optimizer
    return training.fit(model, small() if held is None else held, optimizer, epochs, progress=False, **kwargs)


def record(steps: int = 2):
    model = network()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    recorder = Recorder(model)
    with recorder:
        for _ in range(steps):
            recorder.capture()
    return recorder.record


def labelled(text: str = "a figure") -> Figure:
    figure = Figure()
    figure.set_label(text)
    return figure


PATH = torch.ones(4, 2)
SPREAD = {"relu": {1: [0.9, 0.8], 20: [0.7, 0.6]}}

# The function, a call that is wrong, the error, and what its message has to say, the given value first.
BAD = [
    # theory
    (theory.activation_function, lambda: theory.activation_function("reluu"), ValueError, rf"'reluu'.*{ACTIVATIONS}"),
    (theory.activation_function, lambda: theory.activation_function(3), TypeError, r"name or a callable.*3"),
    (theory.activation_function, lambda: theory.activation_function(None), TypeError, r"name or a callable.*None"),
    (theory.slope, lambda: theory.slope("tan", torch.zeros(2)), ValueError, rf"'tan'.*{ACTIVATIONS}"),
    (theory.slope, lambda: theory.slope("tanh", 0.5), TypeError, r"tensor of floating-point.*0\.5"),
    (theory.slope, lambda: theory.slope("relu", torch.tensor([7])), TypeError, r"floating-point.*tensor\(\[7\]\)"),
    (theory.slope, lambda: theory.slope(torch.sum, torch.zeros(3)), ValueError, r"shape \(3,\), got \(\)"),
    (theory.slope, lambda: theory.slope(lambda z: 5, torch.zeros(3)), ValueError, r"shape \(3,\), got 5"),
    (theory.gaussian_expectation, lambda: theory.gaussian_expectation(4), TypeError, r"callable.*4"),
    (theory.gaussian_expectation, lambda: theory.gaussian_expectation(torch.sum), ValueError, r"shape.*got \(\)"),
    (theory.gaussian_expectation, lambda: theory.gaussian_expectation(lambda z: z[:, None]), ValueError, r"got.*, 1\)"),
    (theory.gaussian_expectation, lambda: theory.gaussian_expectation(torch.tanh, -1.0), ValueError, r"least 0.*-1\.0"),
    (theory.gaussian_expectation, lambda: theory.gaussian_expectation(torch.tanh, NAN), ValueError, r"finite.*nan"),
    (theory.gaussian_expectation, lambda: theory.gaussian_expectation(torch.tanh, "1"), TypeError, r"number.*'1'"),
    (theory.variance_map, lambda: theory.variance_map("elu", 1.0), ValueError, rf"'elu'.*{ACTIVATIONS}"),
    (theory.variance_map, lambda: theory.variance_map("tanh", -2.0), ValueError, r"weight_std.*-2\.0"),
    (theory.variance_map, lambda: theory.variance_map("tanh", 1.0, -3.0), ValueError, r"variance.*-3\.0"),
    (theory.variance_map, lambda: theory.variance_map("tanh", 1.0, bias_std=INF), ValueError, r"bias_std.*finite.*inf"),
    (theory.variance_map, lambda: theory.variance_map(torch.sum, 1.0), ValueError, r"shape.*got \(\)"),
    (theory.chi, lambda: theory.chi("swish", 1.0), ValueError, rf"'swish'.*{ACTIVATIONS}"),
    (theory.chi, lambda: theory.chi("tanh", True), TypeError, r"weight_std.*number.*True"),
    (theory.chi, lambda: theory.chi("tanh", -0.5), ValueError, r"weight_std.*at least 0.*-0\.5"),
    (theory.chi, lambda: theory.chi("tanh", 1.0, NAN), ValueError, r"variance.*finite.*nan"),
    (theory.fixed_point, lambda: theory.fixed_point("tanh", 1.0, 0.0), ValueError, r"variance.*above 0.*0\.0"),
    (theory.fixed_point, lambda: theory.fixed_point("tanh", "one"), TypeError, r"weight_std.*number.*'one'"),
    (theory.fixed_point, lambda: theory.fixed_point("no", 1.0), ValueError, rf"'no'.*{ACTIVATIONS}"),
    (theory.fixed_point, lambda: theory.fixed_point("tanh", 1.0, bias_std=-4.0), ValueError, r"bias_std.*-4\.0"),
    (theory.gradient_profile, lambda: theory.gradient_profile("tanh", 0, 1.0), ValueError, r"depth.*at least 1.*0"),
    (theory.gradient_profile, lambda: theory.gradient_profile("tanh", 2.5, 1.0), TypeError, r"depth.*integer.*2\.5"),
    (theory.gradient_profile, lambda: theory.gradient_profile("tanh", True, 1.0), TypeError, r"depth.*integer.*True"),
    (theory.gradient_profile, lambda: theory.gradient_profile("tanh", 3, -1.5), ValueError, r"weight_std.*-1\.5"),
    (theory.gradient_profile, lambda: theory.gradient_profile("tanh", 3, 1.0, -6.0), ValueError, r"variance.*-6\.0"),
    (theory.gradient_profile, lambda: theory.gradient_profile("bad", 3, 1.0), ValueError, rf"'bad'.*{ACTIVATIONS}"),
    (theory.critical_weight_std, lambda: theory.critical_weight_std("swish"), ValueError, ACTIVATIONS),
    (theory.critical_weight_std, lambda: theory.critical_weight_std("tanh", bias_std=-1), ValueError, r"bias_std.*-1"),
    (theory.correlation_length, lambda: theory.correlation_length("swish", 2.0), ValueError, ACTIVATIONS),
    (theory.correlation_length, lambda: theory.correlation_length("tanh", 0.0), ValueError, r"weight_std.*above 0.*0"),
    (theory.correlation_length, lambda: theory.correlation_length("relu", 2.0), ValueError, r"'relu' grows.*2\.0"),
    (theory.batch_norm_factor, lambda: theory.batch_norm_factor("elu"), ValueError, rf"'elu'.*{ACTIVATIONS}"),
    (theory.batch_norm_factor, lambda: theory.batch_norm_factor(torch.ones_like), ValueError, r"not be constant"),
    (theory.batch_norm_factor, lambda: theory.batch_norm_factor(1), TypeError, r"name or a callable.*1"),
    (theory.product_rate, lambda: theory.product_rate(0, 1.0), ValueError, r"width.*at least 1.*0"),
    (theory.product_rate, lambda: theory.product_rate(4.0, 1.0), TypeError, r"width.*integer.*4\.0"),
    (theory.product_rate, lambda: theory.product_rate(4, 0.0), ValueError, r"weight_std.*above 0"),
    (theory.largest_gain, lambda: theory.largest_gain(0), ValueError, r"depth.*at least 1.*0"),
    (theory.largest_gain, lambda: theory.largest_gain("deep"), TypeError, r"depth.*integer.*'deep'"),
    (theory.residual_growth, lambda: theory.residual_growth("swish", 5, 1.0), ValueError, ACTIVATIONS),
    (theory.residual_growth, lambda: theory.residual_growth("relu", 0, 1.0), ValueError, r"depth.*at least 1.*0"),
    (theory.residual_growth, lambda: theory.residual_growth("relu", 2.5, 1.0), TypeError, r"depth.*integer.*2\.5"),
    (theory.residual_growth, lambda: theory.residual_growth("relu", 5, 0.0), ValueError, r"weight_std.*above 0"),
    (theory.residual_growth, lambda: theory.residual_growth("relu", 5, 1.0, -1), ValueError, r"branch_scale.*-1"),
    (
        theory.residual_growth,
        lambda: theory.residual_growth("relu", 5, 1.0, 1, 0),
        ValueError,
        r"input_variance.*above 0",
    ),
    (theory.overflow_depth, lambda: theory.overflow_depth("swish", 2.0), ValueError, ACTIVATIONS),
    (theory.overflow_depth, lambda: theory.overflow_depth("relu", 0.0), ValueError, r"weight_std.*above 0.*0\.0"),
    (theory.overflow_depth, lambda: theory.overflow_depth("relu", NAN), ValueError, r"weight_std.*finite.*nan"),
    (
        theory.overflow_depth,
        lambda: theory.overflow_depth("relu", 2.0, input_variance=0),
        ValueError,
        r"input_variance.*above 0.*0",
    ),
    (theory.overflow_depth, lambda: theory.overflow_depth("relu", 2.0, width=1), ValueError, r"width.*at least 2.*1"),
    (theory.overflow_depth, lambda: theory.overflow_depth("relu", 2.0, width=9.5), TypeError, r"width.*integer.*9\.5"),
    (theory.stability_limit, lambda: theory.stability_limit(0.0), ValueError, r"curvature.*above 0.*0\.0"),
    (theory.stability_limit, lambda: theory.stability_limit(-2), ValueError, r"curvature.*above 0.*-2"),
    (theory.stability_limit, lambda: theory.stability_limit(INF), ValueError, r"curvature.*finite.*inf"),
    (theory.stability_limit, lambda: theory.stability_limit(None), TypeError, r"curvature.*number.*None"),
    (theory.clip, lambda: theory.clip([1.0], norm=1.0), TypeError, r"tensor of floating-point.*\[1\.0\]"),
    (theory.clip, lambda: theory.clip(torch.ones(2)), ValueError, r"exactly one.*norm=None and value=None"),
    (theory.clip, lambda: theory.clip(torch.ones(2), norm=1, value=2), ValueError, r"exactly one.*norm=1 and value=2"),
    (theory.clip, lambda: theory.clip(torch.ones(2), norm=0.0), ValueError, r"norm.*above 0.*0\.0"),
    (theory.clip, lambda: theory.clip(torch.ones(2), value=-1.5), ValueError, r"value.*above 0.*-1\.5"),
    (theory.cell_memory, lambda: theory.cell_memory(NAN, 3), ValueError, r"forget_bias.*finite.*nan"),
    (theory.cell_memory, lambda: theory.cell_memory(1.0, -2), ValueError, r"steps.*at least 0.*-2"),
    (theory.cell_memory, lambda: theory.cell_memory(1.0, 2.5), TypeError, r"steps.*integer.*2\.5"),
    (theory.memory_horizon, lambda: theory.memory_horizon(INF), ValueError, r"forget_bias.*finite.*inf"),
    (theory.memory_horizon, lambda: theory.memory_horizon("long"), TypeError, r"forget_bias.*number.*'long'"),
    # initializers
    (
        initializers.weight_std,
        lambda: initializers.weight_std("glorott", 3, 3),
        ValueError,
        rf"'glorott'.*{INITIALIZERS}",
    ),
    (initializers.weight_std, lambda: initializers.weight_std(None, 3, 3), TypeError, rf"{INITIALIZERS}.*None"),
    (initializers.weight_std, lambda: initializers.weight_std(True, 3, 3), TypeError, rf"{INITIALIZERS}.*True"),
    (initializers.weight_std, lambda: initializers.weight_std(-1.5, 3, 3), ValueError, r"at least 0.*-1\.5"),
    (initializers.weight_std, lambda: initializers.weight_std(NAN, 3, 3), ValueError, r"finite.*nan"),
    (initializers.weight_std, lambda: initializers.weight_std("he", 0, 3), ValueError, r"fan_in.*at least 1.*0"),
    (initializers.weight_std, lambda: initializers.weight_std("he", 3, "x"), TypeError, r"fan_out.*number.*'x'"),
    (
        initializers.initialize,
        lambda: initializers.initialize(nn.Conv1d(1, 1, 1), "he"),
        TypeError,
        r"nn\.Linear.*nn\.Conv2d.*Conv1d",
    ),
    (
        initializers.initialize,
        lambda: initializers.initialize(nn.Linear(1, 1), "hee"),
        ValueError,
        rf"'hee'.*{INITIALIZERS}",
    ),
    # models
    (models.Elementwise, lambda: models.Elementwise(3), TypeError, r"callable.*3"),
    (models.MLP, lambda: MLP(0), ValueError, r"depth.*at least 1.*0"),
    (models.MLP, lambda: MLP(2.0), TypeError, r"depth.*integer.*2\.0"),
    (models.MLP, lambda: MLP(True), TypeError, r"depth.*integer.*True"),
    (models.MLP, lambda: MLP(2, -8), ValueError, r"width.*at least 1.*-8"),
    (models.MLP, lambda: MLP(2, in_features=0), ValueError, r"in_features.*at least 1.*0"),
    (models.MLP, lambda: MLP(2, out_features="ten"), TypeError, r"out_features.*integer.*'ten'"),
    (models.MLP, lambda: MLP(2, activation="rleu"), ValueError, rf"'rleu'.*{ACTIVATIONS}"),
    (models.MLP, lambda: MLP(2, activation=3), TypeError, r"name or a callable.*3"),
    (models.MLP, lambda: MLP(2, init="kaiming"), ValueError, rf"'kaiming'.*{INITIALIZERS}"),
    (models.MLP, lambda: MLP(2, init=-1.0), ValueError, r"at least 0.*-1\.0"),
    (models.MLP, lambda: MLP(2, seed="a"), TypeError, r"seed.*integer or None.*'a'"),
    (models.MLP, lambda: MLP(2, seed=1.5), TypeError, r"seed.*integer or None.*1\.5"),
    (models.MLP, lambda: MLP(2, norm="group"), ValueError, r"unknown norm 'group'.*batch.*layer.*None"),
    (models.MLP, lambda: MLP(2, skip=True, branch_scale=-1.0), ValueError, r"branch_scale.*at least 0.*-1\.0"),
    (models.ConvNet, lambda: ConvNet(0), ValueError, r"depth.*at least 1.*0"),
    (models.ConvNet, lambda: ConvNet(2, norm="instance"), ValueError, r"unknown norm 'instance'.*batch.*layer"),
    (models.ConvNet, lambda: ConvNet(2, side=0), ValueError, r"side.*at least 1.*0"),
    (models.ConvNet, lambda: ConvNet(2, branch_scale=NAN), ValueError, r"branch_scale.*finite.*nan"),
    (models.ConvNet, lambda: ConvNet(2, activation="rleu"), ValueError, rf"'rleu'.*{ACTIVATIONS}"),
    (models.RecurrentClassifier, lambda: RecurrentClassifier("elman"), ValueError, r"'elman'.*rnn.*lstm.*gru"),
    (models.RecurrentClassifier, lambda: RecurrentClassifier(hidden=0), ValueError, r"hidden.*at least 1.*0"),
    (
        models.RecurrentClassifier,
        lambda: RecurrentClassifier(recurrent_init="he"),
        ValueError,
        r"recurrent_init 'he'.*pytorch.*orthogonal.*spectral radius",
    ),
    (
        models.RecurrentClassifier,
        lambda: RecurrentClassifier(recurrent_init=-0.5),
        ValueError,
        r"spectral radius.*at least 0.*-0\.5",
    ),
    (
        models.RecurrentClassifier,
        lambda: RecurrentClassifier("gru", forget_bias=1.0),
        ValueError,
        r"forget_bias.*lstm.*'gru'",
    ),
    (
        models.RecurrentClassifier,
        lambda: RecurrentClassifier()(torch.zeros(3, 0, 1)),
        ValueError,
        r"at least 1 time step.*\(3, 0, 1\)",
    ),
    # data
    (data.digits, lambda: data.digits(test_size=0), ValueError, r"test_size.*between 0 and 1.*0"),
    (data.digits, lambda: data.digits(test_size=1.0), ValueError, r"test_size.*between 0 and 1.*1\.0"),
    (data.digits, lambda: data.digits(test_size="a"), ValueError, r"test_size.*between 0 and 1.*'a'"),
    (data.digits, lambda: data.digits(test_size=NAN), ValueError, r"test_size.*between 0 and 1.*nan"),
    (data.digits, lambda: data.digits(seed=-3), ValueError, r"seed.*at least 0.*-3"),
    (data.digits, lambda: data.digits(seed=None), ValueError, r"seed.*whole number.*None"),
    # training
    (training.chance_loss, lambda: training.chance_loss(torch.zeros(0)), ValueError, r"at least one target.*none"),
    (training.fit, lambda: fit(clip_norm=0), ValueError, r"clip_norm.*above 0.*0"),
    (training.fit, lambda: fit(clip_norm=-1.0), ValueError, r"clip_norm.*above 0.*-1\.0"),
    (training.fit, lambda: fit(clip_value=NAN), ValueError, r"clip_value.*finite.*nan"),
    (data.sequential_digits, lambda: data.sequential_digits(seed=-1), ValueError, r"seed.*at least 0.*-1"),
    (data.adding_problem, lambda: data.adding_problem(1), ValueError, r"length.*at least 2.*1"),
    (data.adding_problem, lambda: data.adding_problem(0), ValueError, r"length.*at least 2.*0"),
    (data.adding_problem, lambda: data.adding_problem(9, 0), ValueError, r"examples.*at least 1.*0"),
    (data.adding_problem, lambda: data.adding_problem(9, 5, 0.5), ValueError, r"seed.*at least 0.*0\.5"),
    (
        training.accuracy,
        lambda: training.accuracy(nn.Identity(), torch.zeros(0, 2), torch.zeros(0)),
        ValueError,
        r"empty.*0",
    ),
    (
        training.accuracy,
        lambda: training.accuracy(nn.Identity(), torch.zeros(5, 2), torch.zeros(1)),
        ValueError,
        r"5.*1 ",
    ),
    (training.fit, lambda: fit(epochs=0), ValueError, r"epochs.*at least 1.*0"),
    (training.fit, lambda: fit(epochs=1.5), ValueError, r"epochs.*integer.*1\.5"),
    (training.fit, lambda: fit(epochs=True), ValueError, r"epochs.*integer.*True"),
    (training.fit, lambda: fit(batch_size=-64), ValueError, r"batch_size.*at least 1.*-64"),
    (training.fit, lambda: fit(held=small(0)), ValueError, r"x_train is empty.*0"),
    (training.fit, lambda: fit(held=small(tests=0)), ValueError, r"x_test is empty.*0"),
    (training.fit, lambda: fit(held=small(6, 5)), ValueError, r"x_train has 6.*y_train has 5"),
    (training.fit, lambda: fit(held="digits"), TypeError, r"data.*Dataset.*'digits'"),
    (training.fit, lambda: fit(model="mlp"), TypeError, r"model.*Module.*'mlp'"),
    (training.fit, lambda: fit(optimizer="Adam"), TypeError, r"optimizer.*Optimizer.*'Adam'"),
    (training.fit, lambda: fit(seed="x"), TypeError, r"seed.*int.*'x'"),
    (training.descend, lambda: training.descend(0, [1.0], [1.0], 3), ValueError, r"learning_rate.*above 0.*0"),
    (training.descend, lambda: training.descend(NAN, [1.0], [1.0], 3), ValueError, r"learning_rate.*finite.*nan"),
    (training.descend, lambda: training.descend("a", [1.0], [1.0], 3), TypeError, r"learning_rate.*number.*'a'"),
    (training.descend, lambda: training.descend(0.1, [1.0, 2.0], [1.0], 3), ValueError, r"one curvature.*2.*1 coord"),
    (training.descend, lambda: training.descend(0.1, [], [], 3), ValueError, r"at least one.*0 curvatures"),
    (training.descend, lambda: training.descend(0.1, [1.0], [1.0], 0), ValueError, r"steps.*at least 1.*0"),
    (training.descend, lambda: training.descend(0.1, [1.0], [1.0], True), ValueError, r"steps.*integer.*True"),
    # recorder
    (recorder.Recorder, lambda: Recorder("resnet"), TypeError, r"nn\.Module.*'resnet'"),
    (recorder.Recorder, lambda: Recorder(nn.ReLU()), ValueError, r"ReLU.*no parameters"),
    (recorder.Recorder, lambda: Recorder(network(), every=0), ValueError, r"every.*at least 1.*0"),
    (recorder.Recorder, lambda: Recorder(network(), every=1.5), TypeError, r"every.*integer.*1\.5"),
    (recorder.Recorder, lambda: Recorder(network(), every=True), TypeError, r"every.*integer.*True"),
    (recorder.probe, lambda: probe(3, torch.zeros(1, 4), torch.zeros(1)), TypeError, r"nn\.Module.*3"),
    (recorder.probe, lambda: probe(nn.Tanh(), torch.zeros(1, 4), torch.zeros(1)), ValueError, r"Tanh.*no parameters"),
    (recorder.probe, lambda: probe(network(), small(0).x_train, small(0).y_train), ValueError, r"at least one.*empty"),
    (recorder.probe, lambda: probe(network(), small(4).x_train, small(3).y_train), ValueError, r"4.*3"),
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
    (plots.weight_growth, lambda: plots.weight_growth(network()), TypeError, r"Record.*MLP"),
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
    (tensorboard.empty_folder, lambda: tensorboard.empty_folder(5), TypeError, r"logdir.*path.*5"),
    # remedies
    (remedies.advised, lambda: remedies.advised("healthy"), ValueError, r"dying ReLU, .*vanishing.*'healthy'"),
    (remedies.learning_rate, lambda: remedies.learning_rate("10"), TypeError, r"factor.*number.*'10'"),
    (remedies.learning_rate, lambda: remedies.learning_rate(0), ValueError, r"factor.*above 0.*0"),
    (treatment.changes, lambda: treatment.changes("clip", "relu"), TypeError, r"Remedy.*'clip'"),
    (treatment.changes, lambda: treatment.changes(remedies.CLIP, "relu"), ValueError, r"no setting.*'clipping'"),
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
    # explore
    (explore.show, lambda: explore.show(), ValueError, r"at least one figure.*none"),
    (explore.show, lambda: explore.show(3), TypeError, r"matplotlib Figure.*3"),
    (explore.show, lambda: explore.show(labelled(), "text"), TypeError, r"matplotlib Figure.*'text'"),
    (explore.show, lambda: explore.show(labelled("")), ValueError, r"no text alternative.*set_label"),
    (explore.explore, lambda: explore.explore(4, a=[1]), TypeError, r"function that returns a figure.*4"),
    (explore.explore, lambda: explore.explore(lambda: labelled()), ValueError, r"at least one control"),
    (explore.explore, lambda: explore.explore(lambda a: labelled(), a=[]), ValueError, r"'a' has no values.*\[\]"),
    (explore.explore, lambda: explore.explore(lambda a: labelled(), a=5), TypeError, r"'a' must be a list.*5"),
    (
        explore.explore,
        lambda: explore.explore(lambda a: labelled(), a="relu"),
        TypeError,
        r"'a' must be a list.*'relu'",
    ),
    (explore.explore, lambda: explore.explore(lambda a: None, a=[1]), TypeError, r"matplotlib Figure.*None"),
    (explore.explore, lambda: explore.explore(lambda a: [], a=[1]), ValueError, r"a figure or several.*\[\]"),
    (explore.explore, lambda: explore.explore(lambda a: labelled(""), a=[1]), ValueError, r"no text alternative"),
    (
        explore.explore,
        lambda: explore.explore(lambda a, b: labelled(), a=range(16), b=range(16)),
        ValueError,
        r"256 combinations.*at most 250",
    ),
]


def described(row: tuple) -> str:
    function = row[0]
    return f"{function.__module__.rpartition('.')[2]}.{function.__name__}"


@pytest.mark.parametrize(("function", "call", "error", "message"), BAD, ids=map(described, BAD))
def test_a_wrong_argument_is_refused_by_its_name(function, call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert re.search(message, str(caught.value), re.DOTALL), (
        f"the message should say {message!r}, it says: {caught.value}"
    )


def public_callables() -> list[tuple[str, object]]:
    """Every public function and class that takes arguments; what only holds values (Record, History) is left out."""
    found = []
    for name in MODULES:
        module = importlib.import_module(f"gradclinic.{name}")
        for attribute, value in vars(module).items():
            if attribute.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            holds_values = isinstance(value, type) and (dataclasses.is_dataclass(value) or issubclass(value, tuple))
            if callable(value) and not holds_values and inspect.signature(value).parameters:
                found.append((f"{name}.{attribute}", value))
    return found


def test_every_public_function_has_its_bad_inputs_in_the_table():
    found = public_callables()
    assert len(found) > 20, f"the search for public functions found only {len(found)}"
    missing = [name for name, value in found if value not in [row[0] for row in BAD]]
    assert not missing, f"add what {missing} should refuse to the table in this file"


def test_a_refused_figure_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    with pytest.raises(ValueError):
        plots.learning_curve([], 0.5, "x")
    assert dict(matplotlib.rcParams) == before, "an error must not leave the course's style behind"
