"""What the course states beyond the source document, measured as strictly: T1 and on, one file per chapter."""

from gradclinic.course.audit.own import (
    exploding,
    failing,
    normalization,
    optimization,
    recurrence,
    remedies,
    starts,
    transformers,
    vanishing,
)

__all__ = [
    "exploding",
    "failing",
    "normalization",
    "optimization",
    "recurrence",
    "remedies",
    "starts",
    "transformers",
    "vanishing",
]
