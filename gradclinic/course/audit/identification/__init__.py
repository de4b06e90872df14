"""Claims about how to see vanishing and exploding gradients, and how to tell runs apart."""

from gradclinic.course.audit.identification.descents import ERRATIC, Descent, descended, erratic_runs, grown, rising
from gradclinic.course.audit.identification.overflow import S30_CASES, Overflow, overflowed
from gradclinic.course.audit.identification.stuck import (
    LOOKALIKES,
    depth_ratio,
    lookalike,
    recent_loss,
    signs,
    told_apart,
)
from gradclinic.course.audit.identification.tools import middle_exponents, read_back, watched

__all__ = [
    "ERRATIC",
    "LOOKALIKES",
    "S30_CASES",
    "Descent",
    "Overflow",
    "depth_ratio",
    "descended",
    "erratic_runs",
    "grown",
    "lookalike",
    "middle_exponents",
    "overflowed",
    "read_back",
    "recent_loss",
    "rising",
    "signs",
    "told_apart",
    "watched",
]
