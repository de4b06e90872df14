"""Whoever calls a function of the course wrongly reads what was wrong: what was given, and what would be right."""

import math

import matplotlib
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from gradclinic import remedies
from gradclinic.course import (
    attention,
    audit,
    data,
    exercises,
    explore,
    figures,
    initializers,
    live,
    models,
    predict,
    theory,
    training,
    treatment,
)
from gradclinic.course.data import Dataset
from gradclinic.course.models import MLP, ConvNet, RecurrentClassifier, SelfAttention, Transformer, TransformerBlock
from gradclinic.course.theory.activations import elementwise
from gradclinic.course.theory.gaussian import pair_expectation
from tests.helpers import refusals

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


def asked(measure=lambda depth: [0.5], **kwargs):
    settings = {"asked": "share", "ends": (0.0, 1.0), "depth": [1, 2]} | kwargs
    return predict.predict(
        "How much?", measure, **{name: value for name, value in settings.items() if value is not None}
    )


def labelled(text: str = "a figure") -> Figure:
    figure = Figure()
    figure.set_label(text)
    return figure


PATH = torch.ones(4, 2)
EYE = torch.eye(2)
SPREAD = {"relu": {1: [0.9, 0.8], 20: [0.7, 0.6]}}

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
    (elementwise, lambda: elementwise(torch.sum, torch.zeros(3)), ValueError, r"shape \(3,\), got \(\)"),
    (pair_expectation, lambda: pair_expectation(torch.tanh, -1.0, 0.5), ValueError, r"variance.*at least 0.*-1\.0"),
    (pair_expectation, lambda: pair_expectation(torch.tanh, 1.0, 2), ValueError, r"correlation.*at most 1.*2"),
    (pair_expectation, lambda: pair_expectation(torch.sum, 1.0, 0.5), ValueError, r"shape.*got \(\)"),
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
    (theory.chi, lambda: theory.chi("swish", 1.0, 1.0), ValueError, rf"'swish'.*{ACTIVATIONS}"),
    (theory.chi, lambda: theory.chi("tanh", True, 1.0), TypeError, r"weight_std.*number.*True"),
    (theory.chi, lambda: theory.chi("tanh", -0.5, 1.0), ValueError, r"weight_std.*at least 0.*-0\.5"),
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
    (theory.block_flow, lambda: theory.block_flow(2, "mid", 4, 8), ValueError, r"'post' or 'pre'.*'mid'"),
    (theory.block_flow, lambda: theory.block_flow(2, "pre", 1, 8), ValueError, r"tokens.*at least 2.*1"),
    (theory.block_flow, lambda: theory.block_flow(2.5, "pre", 4, 8), TypeError, r"depth.*integer.*2\.5"),
    (theory.block_flow, lambda: theory.block_flow(2, "pre", 4, 8, value_gain=-1), ValueError, r"value_gain.*-1"),
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
    (initializers.weight_std, lambda: initializers.weight_std("he", 3, "x"), TypeError, r"fan_out.*integer.*'x'"),
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
    (models.MLP, lambda: MLP(2, seed="a"), TypeError, r"seed.*integer.*'a'"),
    (models.MLP, lambda: MLP(2, seed=1.5), TypeError, r"seed.*integer.*1\.5"),
    (models.MLP, lambda: MLP(2, norm="group"), ValueError, r"unknown norm 'group'.*batch.*layer.*None"),
    (models.MLP, lambda: MLP(2, skip=True, branch_scale=-1.0), ValueError, r"branch_scale.*at least 0.*-1\.0"),
    (models.ConvNet, lambda: ConvNet(0), ValueError, r"depth.*at least 1.*0"),
    (models.ConvNet, lambda: ConvNet(2, norm="instance"), ValueError, r"unknown norm 'instance'.*batch.*layer"),
    (models.ConvNet, lambda: ConvNet(2, side=0), ValueError, r"side.*at least 1.*0"),
    (models.ConvNet, lambda: ConvNet(2, branch_scale=NAN), ValueError, r"branch_scale.*finite.*nan"),
    (models.ConvNet, lambda: ConvNet(2, activation="rleu"), ValueError, rf"'rleu'.*{ACTIVATIONS}"),
    (models.SelfAttention, lambda: SelfAttention(10, 3), ValueError, r"multiple of heads.*width 10 and 3 heads"),
    (models.SelfAttention, lambda: SelfAttention(10, 0), ValueError, r"heads.*at least 1.*0"),
    (models.TransformerBlock, lambda: TransformerBlock(norm="batch"), ValueError, r"unknown norm 'batch'.*pre.*post"),
    (models.TransformerBlock, lambda: TransformerBlock(activation="rleu"), ValueError, rf"'rleu'.*{ACTIVATIONS}"),
    (models.TransformerBlock, lambda: TransformerBlock(hidden=0), ValueError, r"hidden.*at least 1.*0"),
    (models.Transformer, lambda: Transformer(0), ValueError, r"depth.*at least 1.*0"),
    (models.Transformer, lambda: Transformer(2, side=1.5), TypeError, r"side.*integer.*1\.5"),
    (models.Transformer, lambda: Transformer(2, init="kaiming"), ValueError, rf"'kaiming'.*{INITIALIZERS}"),
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
    (data.digits, lambda: data.digits(test_size="a"), TypeError, r"test_size.*number.*'a'"),
    (data.digits, lambda: data.digits(test_size=NAN), ValueError, r"test_size.*finite.*nan"),
    (data.digits, lambda: data.digits(seed=-3), ValueError, r"seed.*at least 0.*-3"),
    (data.digits, lambda: data.digits(seed=None), TypeError, r"seed.*integer.*None"),
    (data.sequential_digits, lambda: data.sequential_digits(seed=-1), ValueError, r"seed.*at least 0.*-1"),
    (data.prose, lambda: data.prose(1.0), ValueError, r"test_size.*between 0 and 1.*1\.0"),
    (data.prose, lambda: data.prose("a tenth"), TypeError, r"test_size.*'a tenth'"),
    (data.adding_problem, lambda: data.adding_problem(1), ValueError, r"length.*at least 2.*1"),
    (data.adding_problem, lambda: data.adding_problem(0), ValueError, r"length.*at least 2.*0"),
    (data.adding_problem, lambda: data.adding_problem(9, 0), ValueError, r"examples.*at least 1.*0"),
    (data.adding_problem, lambda: data.adding_problem(9, 5, 0.5), TypeError, r"seed.*integer.*0\.5"),
    # training
    (training.chance_loss, lambda: training.chance_loss(torch.zeros(0)), ValueError, r"at least one target.*none"),
    (training.fit, lambda: fit(clip_norm=0), ValueError, r"clip_norm.*above 0.*0"),
    (training.fit, lambda: fit(clip_norm=-1.0), ValueError, r"clip_norm.*above 0.*-1\.0"),
    (training.fit, lambda: fit(clip_value=NAN), ValueError, r"clip_value.*finite.*nan"),
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
    (training.fit, lambda: fit(epochs=1.5), TypeError, r"epochs.*integer.*1\.5"),
    (training.fit, lambda: fit(epochs=True), TypeError, r"epochs.*integer.*True"),
    (training.fit, lambda: fit(batch_size=-64), ValueError, r"batch_size.*at least 1.*-64"),
    (training.fit, lambda: fit(held=small(0)), ValueError, r"x_train is empty.*0"),
    (training.fit, lambda: fit(held=small(tests=0)), ValueError, r"x_test is empty.*0"),
    (training.fit, lambda: fit(held=small(6, 5)), ValueError, r"x_train has 6.*y_train has 5"),
    (training.fit, lambda: fit(held="digits"), TypeError, r"data.*Dataset.*'digits'"),
    (training.fit, lambda: fit(model="mlp"), TypeError, r"model.*Module.*'mlp'"),
    (training.fit, lambda: fit(optimizer="Adam"), TypeError, r"optimizer.*Optimizer.*'Adam'"),
    (training.fit, lambda: fit(seed="x"), TypeError, r"seed.*int.*'x'"),
    (training.fit, lambda: fit(recorder="yes"), TypeError, r"recorder.*Recorder.*'yes'"),
    (training.fit, lambda: fit(clip_norm="1"), TypeError, r"clip_norm.*number.*'1'"),
    (training.descend, lambda: training.descend(0, [1.0], [1.0], 3), ValueError, r"learning_rate.*above 0.*0"),
    (training.descend, lambda: training.descend(NAN, [1.0], [1.0], 3), ValueError, r"learning_rate.*finite.*nan"),
    (training.descend, lambda: training.descend("a", [1.0], [1.0], 3), TypeError, r"learning_rate.*number.*'a'"),
    (training.descend, lambda: training.descend(0.1, [1.0, 2.0], [1.0], 3), ValueError, r"one curvature.*2.*1 coord"),
    (training.descend, lambda: training.descend(0.1, [], [], 3), ValueError, r"at least one.*0 curvatures"),
    (training.descend, lambda: training.descend(0.1, [1.0], [1.0], 0), ValueError, r"steps.*at least 1.*0"),
    (training.descend, lambda: training.descend(0.1, [1.0], [1.0], True), TypeError, r"steps.*integer.*True"),
    # figures
    (figures.descent_path, lambda: figures.descent_path(torch.ones(1, 2), [1, 1]), ValueError, r"steps \+ 1.*\(1, 2\)"),
    (figures.descent_path, lambda: figures.descent_path(torch.ones(7), [1, 1]), ValueError, r"steps \+ 1.*\(7,\)"),
    (figures.descent_path, lambda: figures.descent_path(PATH, [1, "2"]), TypeError, r"each of curvatures.*'2'"),
    (figures.descent_path, lambda: figures.descent_path(PATH, [1.5]), ValueError, r"two numbers above 0.*1\.5"),
    (figures.descent_path, lambda: figures.descent_path(PATH, [1, -3]), ValueError, r"each of curvatures.*above 0.*-3"),
    (figures.descent_error, lambda: figures.descent_error(torch.ones(1, 2), 1.0), ValueError, r"steps \+ 1.*\(1, 2\)"),
    (figures.descent_error, lambda: figures.descent_error(PATH, -0.5), ValueError, r"rate_times_curvature.*0.*-0\.5"),
    (
        figures.optimizer_paths,
        lambda: figures.optimizer_paths({}, EYE, "t"),
        ValueError,
        r"between 1 and 4 paths.*\[\]",
    ),
    (
        figures.optimizer_paths,
        lambda: figures.optimizer_paths({"a": [1.0]}, EYE, "t"),
        ValueError,
        r"steps \+ 1.*\(1,\)",
    ),
    (figures.optimizer_paths, lambda: figures.optimizer_paths({"a": PATH}, -EYE, "t"), ValueError, r"hessian.*-1\.0"),
    (figures.error_by_direction, lambda: figures.error_by_direction({}, "t"), ValueError, r"between 1 and 4.*\[\]"),
    (figures.error_by_direction, lambda: figures.error_by_direction({"a": [1]}, "t"), ValueError, r"one step.*\(1,\)"),
    (
        figures.error_by_direction,
        lambda: figures.error_by_direction({"a": [1, 2], "b": [1, 2, 3]}, "t"),
        ValueError,
        r"one shape.*\(2,\).*\(3,\)",
    ),
    (
        figures.curvature_by_step,
        lambda: figures.curvature_by_step([0], [1], 0),
        ValueError,
        r"learning_rate.*above 0.*0",
    ),
    (figures.curvature_by_step, lambda: figures.curvature_by_step([0], [1], "1"), TypeError, r"learning_rate.*'1'"),
    (
        figures.curvature_by_step,
        lambda: figures.curvature_by_step([1, 1], [1, 1], 1),
        ValueError,
        r"at must.*\[1\.0, 1",
    ),
    (
        figures.curvature_by_step,
        lambda: figures.curvature_by_step([1, 2], [1], 1),
        ValueError,
        r"one for each.*\[1\.0\]",
    ),
    (figures.activation_and_slope, lambda: figures.activation_and_slope("sig"), ValueError, rf"'sig'.*{ACTIVATIONS}"),
    (
        figures.saturation,
        lambda: figures.saturation("tanh", torch.zeros(0, 4), 0.5),
        ValueError,
        r"at least one.*\(0, 4\)",
    ),
    (
        figures.saturation,
        lambda: figures.saturation("tanh", torch.zeros(4), 50),
        ValueError,
        r"saturated.*at most 1.*50",
    ),
    (
        figures.saturation,
        lambda: figures.saturation("tahn", torch.zeros(4), 0.5),
        ValueError,
        rf"'tahn'.*{ACTIVATIONS}",
    ),
    (
        figures.gradient_profile,
        lambda: figures.gradient_profile(torch.ones(3), torch.ones(3)),
        ValueError,
        r"seeds.*\(3,\)",
    ),
    (
        figures.gradient_profile,
        lambda: figures.gradient_profile(torch.ones(2, 3), torch.ones(4)),
        ValueError,
        r"\(2, 3\).*4",
    ),
    (
        figures.gradient_profile,
        lambda: figures.gradient_profile(torch.ones(0, 3), torch.ones(3)),
        ValueError,
        r"\(0, 3\)",
    ),
    (figures.learning_curve, lambda: figures.learning_curve([], 0.5, "x"), ValueError, r"at least one.*\[\]"),
    (figures.learning_curve, lambda: figures.learning_curve([1.0], "97%", "x"), TypeError, r"accuracy.*'97%'"),
    (figures.learning_curve, lambda: figures.learning_curve([1.0], 97, "x"), ValueError, r"accuracy.*at most 1.*97"),
    (figures.accuracy_by_depth, lambda: figures.accuracy_by_depth({}), ValueError, r"between 1 and 4.*\[\]"),
    (
        figures.accuracy_by_depth,
        lambda: figures.accuracy_by_depth({c: {1: [1.0]} for c in "abcde"}),
        ValueError,
        r"1 and 4.*'e'",
    ),
    (
        figures.accuracy_by_depth,
        lambda: figures.accuracy_by_depth(SPREAD, 7, "relu"),
        ValueError,
        r"7.*relu: \[1, 20\]",
    ),
    (
        figures.accuracy_by_depth,
        lambda: figures.accuracy_by_depth(SPREAD, 1, "tanh"),
        ValueError,
        r"'tanh'.*relu: \[1, 20\]",
    ),
    (
        figures.loss_along_gradient,
        lambda: figures.loss_along_gradient([0.0], {}),
        ValueError,
        r"vanishing.*healthy.*\[\]",
    ),
    (
        figures.loss_along_gradient,
        lambda: figures.loss_along_gradient([0.0], {"odd": [1.0]}),
        ValueError,
        r"vanishing.*'odd'",
    ),
    (
        figures.loss_along_gradient,
        lambda: figures.loss_along_gradient([0.0], {"healthy": [1, 2]}),
        ValueError,
        r"1 dist.*\[2\]",
    ),
    (figures.phase_diagram, lambda: figures.phase_diagram("sig", {1.0: [1.0]}), ValueError, rf"'sig'.*{ACTIVATIONS}"),
    (figures.phase_diagram, lambda: figures.phase_diagram("tanh", {}), ValueError, r"weight scales above 0.*\{\}"),
    (figures.phase_diagram, lambda: figures.phase_diagram("tanh", {0.0: [1.0]}), ValueError, r"above 0.*0\.0"),
    (figures.phase_diagram, lambda: figures.phase_diagram("tanh", {2.0: []}), ValueError, r"at least one factor.*\[\]"),
    (figures.phase_diagram, lambda: figures.phase_diagram("tanh", {2.0: [1.0]}, 3.0), ValueError, r"3\.0.*2\.0"),
    (figures.overflow, lambda: figures.overflow([1.0], [0.0], 3.0), ValueError, r"seeds.*\(1,\)"),
    (figures.overflow, lambda: figures.overflow([[1.0, 2.0]], [0.0], 3.0), ValueError, r"\(1, 2\) and \(1,\)"),
    (figures.overflow, lambda: figures.overflow([[1.0]], [0.0], 0), ValueError, r"predicted_layer.*from 1.*0"),
    (figures.overflow, lambda: figures.overflow([[1.0]], [0.0], NAN), ValueError, r"predicted_layer.*from 1.*nan"),
    (figures.gradient_size, lambda: figures.gradient_size(torch.ones(1), 1.0, 1.0), ValueError, r"steps \+ 1.*\(1,\)"),
    (figures.gradient_size, lambda: figures.gradient_size(PATH, 1.0, 1.0), ValueError, r"steps \+ 1, 1\).*2\)"),
    (
        figures.gradient_size,
        lambda: figures.gradient_size(torch.ones(5), 0.0, 1.0),
        ValueError,
        r"curvature.*above 0.*0",
    ),
    (figures.gradient_size, lambda: figures.gradient_size(torch.ones(5), 1.0, -2), ValueError, r"learning_rate.*-2"),
    (figures.remedies, lambda: figures.remedies({}, {}), ValueError, r"at least one.*\[\] and \[\]"),
    (figures.remedies, lambda: figures.remedies({"a": [1.0]}, {"b": [1.0]}), ValueError, r"same.*\['a'\] and \['b'\]"),
    (figures.remedies, lambda: figures.remedies({"a": [1.0]}, {"a": []}), ValueError, r"at least one value.*\['a'\]"),
    (
        figures.there_and_back,
        lambda: figures.there_and_back([1.0], [1.0], "n"),
        ValueError,
        r"\(seeds, points\).*\(1,\)",
    ),
    (figures.there_and_back, lambda: figures.there_and_back([[1.0]], [[1.0, 2.0]], "n"), ValueError, "same number"),
    (figures.singular_values, lambda: figures.singular_values({}, "n"), ValueError, r"between 1 and 4 starts.*\[\]"),
    (figures.singular_values, lambda: figures.singular_values({"a": [[0.0, 0.0]]}, "n"), ValueError, "above 0"),
    (
        figures.singular_values,
        lambda: figures.singular_values({"a": [[1.0]]}, "n", 0.0),
        ValueError,
        r"least.*above 0.*0",
    ),
    (figures.against, lambda: figures.against([1.0], {}, "t", ("x", "y")), ValueError, r"between 1 and 4 curves.*\[\]"),
    (
        figures.against,
        lambda: figures.against([2.0, 1.0], {"a": [[0.1, 0.2]]}, "t", ("x", "y")),
        ValueError,
        r"2 rising numbers.*\[2\.0, 1\.0\]",
    ),
    (figures.float16_window, lambda: figures.float16_window([]), ValueError, r"at least one layer.*none"),
    (figures.float16_window, lambda: figures.float16_window([PATH], NAN), ValueError, r"exponent.*finite.*nan"),
    (figures.float16_window, lambda: figures.float16_window([PATH], "8"), TypeError, r"exponent.*'8'"),
    (figures.through_time, lambda: figures.through_time({}), ValueError, r"between 1 and 4 networks.*\[\]"),
    (figures.through_time, lambda: figures.through_time({"a": [1.0, 2.0]}), ValueError, r"\(seeds, points\).*\(2,\)"),
    (
        figures.through_time,
        lambda: figures.through_time({"a": [[1.0]], "b": [[1.0, 2.0]]}),
        ValueError,
        r"same number.*\(1, 1\).*\(1, 2\)",
    ),
    (figures.through_time, lambda: figures.through_time({"a": [[1.0, 1.0]]}, [1.0]), ValueError, r"\(2,\).*\(1,\)"),
    (figures.cell_memory, lambda: figures.cell_memory({"a": [[1.0]]}, [1.0, 2.0], 1.0), ValueError, r"\(1,\).*\(2,\)"),
    (
        figures.cell_memory,
        lambda: figures.cell_memory({"a": [[1.0]]}, [1.0], -3.0),
        ValueError,
        r"horizon.*above 0.*-3\.0",
    ),
    (
        figures.training_compared,
        lambda: figures.training_compared({"a": [[1.0]]}, NAN, "t"),
        ValueError,
        r"reference.*finite.*nan",
    ),
    (figures.training_compared, lambda: figures.training_compared({}, 1.0, "t"), ValueError, r"between 1 and 4.*\[\]"),
    (
        figures.surface_walk,
        lambda: figures.surface_walk([0, 1], [0, 1], [[1.0]], PATH, "x"),
        ValueError,
        r"2 points.*\(1, 1\)",
    ),
    (
        figures.surface_walk,
        lambda: figures.surface_walk([0, 1], [0, 1], torch.ones(2, 2), torch.ones(1, 2), "x"),
        ValueError,
        r"steps \+ 1.*\(1, 2\)",
    ),
    (
        figures.clipped_arrows,
        lambda: figures.clipped_arrows(torch.zeros(2), 1.0),
        ValueError,
        r"not both 0.*\[0\.0, 0\.0\]",
    ),
    (
        figures.clipped_arrows,
        lambda: figures.clipped_arrows(torch.ones(3), 1.0),
        ValueError,
        r"two numbers.*1\.0, 1\.0\]",
    ),
    (figures.clipped_arrows, lambda: figures.clipped_arrows(torch.ones(2), 0), ValueError, r"threshold.*above 0.*0"),
    (figures.clipping_threshold, lambda: figures.clipping_threshold([], 1.0), ValueError, r"at least one norm.*\(0,\)"),
    (figures.clipping_threshold, lambda: figures.clipping_threshold([1.0], -2), ValueError, r"threshold.*above 0.*-2"),
    (
        figures.clipping_threshold,
        lambda: figures.clipping_threshold([1.0], 1, 80),
        ValueError,
        r"accuracy.*at most 1.*80",
    ),
    (figures.step_sizes, lambda: figures.step_sizes({}, 0), ValueError, r"between 1 and 4 optimisers.*\[\]"),
    (figures.step_sizes, lambda: figures.step_sizes({"SGD": [1.0, 2.0]}, 0.5), TypeError, r"spike.*0\.5"),
    (figures.step_sizes, lambda: figures.step_sizes({"SGD": [1.0, 2.0]}, 7), ValueError, r"spike.*0 and 1, got 7"),
    (
        figures.by_block,
        lambda: figures.by_block([[1.0]], [1.0], "q"),
        ValueError,
        r"\(3, blocks\).*\(1, 1\) and \(1,\)",
    ),
    (
        figures.losses_compared,
        lambda: figures.losses_compared({"a": [[1.0]]}, 0, {}, "t"),
        ValueError,
        r"part.*at least 1.*0",
    ),
    # attention
    (attention.Attention, lambda: attention.Attention(10, 3), ValueError, r"multiple of heads.*10 and 3"),
    (attention.Attention, lambda: attention.Attention(4, 2)(torch.zeros(3, 4)), ValueError, r"\(batch.*\(3, 4\)"),
    (attention.Block, lambda: attention.Block("side", 2, 4, 2), ValueError, r"'side'.*post, pre, scaled, deepnorm"),
    (attention.Transformer, lambda: attention.Transformer(0), ValueError, r"depth.*at least 1.*0"),
    (attention.Transformer, lambda: attention.Transformer(1, seed=0.5), TypeError, r"seed.*integer.*0\.5"),
    (attention.CharacterModel, lambda: attention.CharacterModel(1, characters=0), ValueError, r"characters.*1.*0"),
    # treatment
    (treatment.changes, lambda: treatment.changes("clip", "relu"), TypeError, r"Remedy.*'clip'"),
    (treatment.changes, lambda: treatment.changes(remedies.CLIP, "relu"), ValueError, r"no setting.*'clipping'"),
    # explore
    (explore.show, explore.show, ValueError, r"at least one figure.*none"),
    (explore.show, lambda: explore.show(3), TypeError, r"matplotlib Figure.*3"),
    (explore.show, lambda: explore.show(labelled(), "text"), TypeError, r"matplotlib Figure.*'text'"),
    (explore.show, lambda: explore.show(labelled("")), ValueError, r"no text alternative.*set_label"),
    (explore.explore, lambda: explore.explore(4, a=[1]), TypeError, r"function that returns a figure.*4"),
    (explore.explore, lambda: explore.explore(labelled), ValueError, r"at least one control"),
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
    (explore.explore, lambda: explore.explore(lambda a: labelled(), 2, a=[1]), TypeError, r"names of controls.*2"),
    (explore.explore, lambda: explore.explore(lambda a: labelled(), {"b": 2}, a=[1]), ValueError, r"\['b'\].*\['a'\]"),
    (explore.explore, lambda: explore.explore(lambda a: labelled(), {"a": 2}, a=[1]), ValueError, r"a=2.*\['1'\]"),
    (explore.explore, lambda: explore.explore(lambda a: labelled(), a=[3, 2, 1]), ValueError, r"'a'.*rise.*'3', '2'"),
    (figures.values_by_layer, lambda: figures.values_by_layer({}, "a net"), ValueError, r"told apart, got 0"),
    (figures.flat_units, lambda: figures.flat_units(torch.ones(3), "a layer"), ValueError, r"got shape \(3,\)"),
    (
        figures.circle,
        lambda: figures.circle({"a": torch.zeros(3).numpy()}, "a net"),
        ValueError,
        r"a must have.*above 0",
    ),
    # predict
    (predict.predict, lambda: asked(4), TypeError, r"measure.*function of the setting.*4"),
    (predict.predict, lambda: asked(depth=None), ValueError, r"exactly one control.*\[\]"),
    (predict.predict, lambda: asked(width=[1, 2]), ValueError, r"exactly one control.*'depth', 'width'"),
    (predict.predict, lambda: asked(depth=[2, 1]), ValueError, r"depth.*rise.*\[2, 1\]"),
    (predict.predict, lambda: asked(opening=7), ValueError, r"opening must be one of.*7"),
    (predict.predict, lambda: asked(ends=(1.0, 0.0)), ValueError, r"ends must rise, got \(1.0, 0.0\)"),
    (predict.predict, lambda: asked(logarithmic=True), ValueError, r"above 0, got \(0.0, 1.0\)"),
    (predict.Prediction, predict.Prediction, TypeError, r"missing.*question"),
    (predict.predict, lambda: asked(ends=("a", 1.0)), TypeError, r"ends\[0\].*'a'"),
    # audit
    (audit.finding, lambda: audit.finding("S99"), ValueError, r"'S99'.*S1, S2"),
    (audit.claims, lambda: audit.claims("X"), ValueError, r"'S'.*'T'.*'X'"),
    (audit.overview, lambda: audit.overview("X"), ValueError, r"'S'.*'T'.*'X'"),
    (audit.few, lambda: audit.few("many"), TypeError, r"value.*number.*'many'"),
    (audit.few, lambda: audit.few(1.5, 0), ValueError, r"digits.*at least 1.*0"),
    (figures.by_layer, lambda: figures.by_layer({"a": 1.0}, [1.0], "t"), ValueError, r"two layers.*1 and 1"),
    (figures.by_layer, lambda: figures.by_layer({"a": 1, "b": 2}, [1.0], "t"), ValueError, r"two layers.*2 and 1"),
    (figures.chain, lambda: figures.chain(["x"], [1.0], [1.0], "a"), ValueError, r"two names.*1, 1 and 1"),
    (figures.chain, lambda: figures.chain(["x", "y"], [1.0], [1.0, 1.0], "a"), ValueError, r"two names.*2, 1 and 2"),
    # live
    (live.lab, lambda: live.lab(depth=31), ValueError, r"depth.*1 to 30.*31"),
    (live.lab, lambda: live.lab(depth=2.5), TypeError, r"depth.*integer.*2\.5"),
    (live.lab, lambda: live.lab(width=20), ValueError, r"width.*16, 24, 32, 48, 64.*20"),
    (live.lab, lambda: live.lab(activation="elu"), ValueError, rf"'elu'.*{ACTIVATIONS}"),
    (live.lab, lambda: live.lab(start="orthogonal"), ValueError, r"'orthogonal'.*pytorch, xavier, he"),
    (live.lab, lambda: live.lab(start=-1.0), ValueError, r"at least 0.*-1"),
    (live.lab, lambda: live.lab(norm="group"), ValueError, r"'group'.*none, batch, layer"),
    (live.lab, lambda: live.lab(rate=INF), ValueError, r"rate.*finite.*inf"),
    (live.lab, lambda: live.lab(clip="off"), TypeError, r"clip.*number.*'off'"),
    (live.lab, lambda: live.lab(start=None), TypeError, r"start.*number.*None"),
    (live.lab, lambda: live.lab(start=100.0), ValueError, r"start.*20.*100"),
    (live.lab, lambda: live.lab(rate=0), ValueError, r"rate.*1e-06.*0"),
    (live.lab, lambda: live.lab(epsilon=5.0), ValueError, r"epsilon.*1.*5"),
    (live.lab, lambda: live.lab(decay=1e-9), ValueError, r"decay.*1e-06.*1e-09"),
    (live.lab, lambda: live.lab(clip=1000), ValueError, r"clip.*100.*1000"),
    (live.lab, lambda: live.lab(seed=2**31), ValueError, r"seed.*2147483648"),
    (live.record_of, lambda: live.record_of({"steps": []}), ValueError, r"steps.*known: layers"),
    (live.record_of, lambda: live.record_of({"step": [1]}), ValueError, r"layers.*missing"),
    # exercises
    (exercises.find_lab, lambda: exercises.find_lab("11-dreams"), ValueError, r"'11-dreams'.*01-gradient-descent"),
]


@refusals.refused(BAD)
def test_a_wrong_argument_is_refused_by_its_name(call, error, message):
    refusals.check(call, error, message)


def test_every_public_function_of_the_course_has_its_bad_inputs_in_the_table():
    assert len(refusals.public_callables("gradclinic.course")) > 20
    missing = refusals.unlisted(BAD, "gradclinic.course")
    assert not missing, f"add what {missing} should refuse to the table in this file"


def test_a_refused_figure_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    with pytest.raises(ValueError, match="at least one loss"):
        figures.learning_curve([], 0.5, "x")
    assert dict(matplotlib.rcParams) == before, "an error must not leave the course's style behind"
