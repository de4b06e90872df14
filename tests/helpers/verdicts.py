"""What becomes of each statement of the source document."""

from gradclinic.course import audit

# What an earlier, separate measurement of the source document found. The audit computes its verdicts from its own
# measurements, so that the two can disagree.
VERDICTS = {
    "S1": audit.HOLDS,
    "S2": audit.CONDITION,
    "S3": audit.HOLDS,
    "S4": audit.HOLDS,
    "S5": audit.HOLDS,
    "S6": audit.CONDITION,
    "S7": audit.HOLDS,
    "S8": audit.HOLDS,
    "S9": audit.HOLDS,
    "S10": audit.HOLDS,
    "S11": audit.HOLDS,
    "S12": audit.FAILS,
    "S13": audit.CONDITION,
    "S14": audit.CONDITION,
    "S15": audit.HOLDS,
    "S16": audit.CONDITION,
    "S17": audit.CONDITION,
    "S18": audit.CONDITION,
    "S19": audit.HOLDS,
    "S20": audit.FAILS,
    "S21": audit.HOLDS,
    "S22": audit.CONDITION,
    "S23": audit.CONDITION,
    "S24": audit.HOLDS,
    "S25": audit.CONDITION,
    "S26": audit.HOLDS,
    "S27": audit.CONDITION,
    "S28": audit.FAILS,
    "S29": audit.HOLDS,
    "S30": audit.HOLDS,
    "S31": audit.HOLDS,
    "S32": audit.HOLDS,
    "S33": audit.CONDITION,
    "S34": audit.CONDITION,
}
