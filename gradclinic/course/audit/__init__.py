"""Every statement of the source document, measured: one function per claim, one file per chapter.

A claim is stated, then tested as stated. Where that does not hold, the corrected statement is tested too. The verdict
is computed from those measurements; nothing here says in advance what it should be.
"""

from gradclinic.course.audit import (
    characters,
    exploding,
    half_precision,
    identification,
    league,
    networks,
    normalization,
    own,
    recurrence,
    skips,
    starts,
    vanishing,
)
from gradclinic.course.audit.claims import (
    CONDITION,
    FAILS,
    HOLDS,
    SEEDS,
    Finding,
    Quantity,
    claims,
    few,
    finding,
    overview,
)

__all__ = [
    "CONDITION",
    "FAILS",
    "HOLDS",
    "SEEDS",
    "Finding",
    "Quantity",
    "characters",
    "claims",
    "exploding",
    "few",
    "finding",
    "half_precision",
    "identification",
    "league",
    "networks",
    "normalization",
    "overview",
    "own",
    "recurrence",
    "skips",
    "starts",
    "vanishing",
]
