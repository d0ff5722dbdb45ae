"""The name that this daemon keeps over restarts: a random UUID in the state folder, made on the first start."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID, uuid4


def instance_urn(path: Path) -> str:
    """`urn:uuid:...` (RFC 5626 §4.1, RFC 9562 §4), as it stands in `path`; written there where it is missing or broken.

    Raises OSError where the folder cannot be written.
    """
    try:
        return UUID(path.read_text(encoding="ascii").strip()).urn
    except (FileNotFoundError, ValueError):
        made = uuid4()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(f"{made}\n", encoding="ascii")
    os.replace(beside, path)  # noqa: PTH105 - whole or not at all
    return made.urn
