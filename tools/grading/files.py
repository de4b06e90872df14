"""Files that are written whole or not at all."""

import os
from pathlib import Path


def write(path: Path, text: str, private: bool = False) -> None:
    """Write ``text``, so that others see the old file or the new one and never a part. ``private``: for one's own eyes.

    Raises:
        OSError: if the disk is full, say. Then the old file is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        opened = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o666)
        with open(opened, "w", encoding="utf-8") as file:
            file.write(text)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
