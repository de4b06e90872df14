"""What mean-field theory predicts about signals and gradients, before any network is built.

Nothing here knows a network: every number comes from a closed form or from a Gaussian integral, so that a
prediction can never be computed from the measurement it is compared with.
"""

from gradclinic.course.theory.activations import ACTIVATIONS, LEAK, Activation, activation_function, slope
from gradclinic.course.theory.attention import BlockFlow, block_flow
from gradclinic.course.theory.depth import (
    chi,
    correlation_length,
    critical_weight_std,
    fixed_point,
    gradient_profile,
    overflow_depth,
    variance_map,
)
from gradclinic.course.theory.gaussian import gaussian_expectation
from gradclinic.course.theory.matrices import largest_gain, product_rate
from gradclinic.course.theory.remedies import batch_norm_factor, cell_memory, memory_horizon, residual_growth
from gradclinic.course.theory.steps import clip, stability_limit

__all__ = [
    "ACTIVATIONS",
    "LEAK",
    "Activation",
    "BlockFlow",
    "activation_function",
    "batch_norm_factor",
    "block_flow",
    "cell_memory",
    "chi",
    "clip",
    "correlation_length",
    "critical_weight_std",
    "fixed_point",
    "gaussian_expectation",
    "gradient_profile",
    "largest_gain",
    "memory_horizon",
    "overflow_depth",
    "product_rate",
    "residual_growth",
    "slope",
    "stability_limit",
    "variance_map",
]
