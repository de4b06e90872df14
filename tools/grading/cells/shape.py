"""What may be said in answer, seen before anything is made of it: in the jail, and once more outside."""

import re
from collections.abc import Mapping

DEEPEST = 20  # list in list
ASIDE = 1000  # parts beside the answers: in a message, say


def may_be_said(data: bytes, limits: Mapping[str, int]) -> bool:
    """Whether these bytes are no longer, of no more parts and no deeper than any answer; what stands in a text counts.

    Args:
        limits: with ``answer_bytes`` and ``entries``.
    """
    parts = sum(map(data.count, (b",", b"[", b"]", b"{", b"}")))
    return len(data) <= limits["answer_bytes"] and parts <= 3 * limits["entries"] + ASIDE and not deep(data)


def deep(data: bytes) -> bool:
    """Whether lists or objects lie in each other deeper than any answer's; what stands in a text counts as well."""
    depth = 0
    for bracket in re.findall(rb"[\[\]{}]", data):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            return True
    return False
