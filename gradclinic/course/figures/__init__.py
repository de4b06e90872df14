"""Figures for this course: of theory, of walks and of networks that were measured for it; none of them shows anything.

They look as those of ``gradclinic.plots`` do, which are of your own run: the title states what a figure shows, its
label (``figure.get_label()``) is its text alternative, and a colour has the same one meaning.
"""

from gradclinic.course.figures.blocks import by_block
from gradclinic.course.figures.chain import chain
from gradclinic.course.figures.clipping import clipped_arrows, clipping_threshold, step_sizes
from gradclinic.course.figures.depth import (
    activation_and_slope,
    float16_window,
    gradient_profile,
    loss_along_gradient,
    overflow,
    phase_diagram,
    saturation,
    singular_values,
    there_and_back,
)
from gradclinic.course.figures.descents import curvature_by_step, error_by_direction, optimizer_paths
from gradclinic.course.figures.layers import by_layer
from gradclinic.course.figures.shapes import circle, flat_units, values_by_layer
from gradclinic.course.figures.time import cell_memory, through_time
from gradclinic.course.figures.trainings import (
    accuracy_by_depth,
    against,
    learning_curve,
    losses_compared,
    remedies,
    training_compared,
)
from gradclinic.course.figures.walks import descent_error, descent_path, gradient_size, surface_walk

__all__ = [
    "accuracy_by_depth",
    "activation_and_slope",
    "against",
    "by_block",
    "by_layer",
    "cell_memory",
    "chain",
    "circle",
    "clipped_arrows",
    "clipping_threshold",
    "curvature_by_step",
    "descent_error",
    "descent_path",
    "error_by_direction",
    "flat_units",
    "float16_window",
    "gradient_profile",
    "gradient_size",
    "learning_curve",
    "loss_along_gradient",
    "losses_compared",
    "optimizer_paths",
    "overflow",
    "phase_diagram",
    "remedies",
    "saturation",
    "singular_values",
    "step_sizes",
    "surface_walk",
    "there_and_back",
    "through_time",
    "training_compared",
    "values_by_layer",
]
