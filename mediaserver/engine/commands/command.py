"""What all commands have in common."""

from __future__ import annotations

import msgspec

Address = tuple[str, int]
"""IP address as text and UDP port."""


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of all commands."""

    id: int
    request: int | None = None
