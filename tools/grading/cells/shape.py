"""How deep an answer lies in itself, seen before anything is made of it: in the jail, and once more outside."""

import re

DEEPEST = 20  # list in list


def deep(data: bytes) -> bool:
    """Whether lists or objects lie in each other deeper than any answer's; what stands in a text counts as well."""
    depth = 0
    for bracket in re.findall(rb"[\[\]{}]", data):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            return True
    return False
