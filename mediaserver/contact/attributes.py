"""What is known about a contact, bounded, with the trusted part kept apart from what a page merely said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mediaserver.errors import LimitExceeded

MAX_NAMES = 32
MAX_NAME_CHARS = 64
MAX_VALUE_CHARS = 1024


def bounded(attributes: Mapping[str, str]) -> dict[str, str]:
    """A copy of `attributes`. Raises LimitExceeded when it holds more or longer texts than a contact may carry."""
    if len(attributes) > MAX_NAMES:
        raise LimitExceeded(f"{len(attributes)} attributes given, at most {MAX_NAMES} are kept", limit="attributes")
    for name, value in attributes.items():
        if len(name) > MAX_NAME_CHARS or len(value) > MAX_VALUE_CHARS:
            raise LimitExceeded(
                f"attribute {name[:MAX_NAME_CHARS]!r} is too long: names have at most {MAX_NAME_CHARS} and values at "
                f"most {MAX_VALUE_CHARS} characters",
                limit="attributes",
            )
    return dict(attributes)


@dataclass(slots=True)
class Attributes:
    """`verified` comes from a token signed by the house or from a trusted trunk; `unverified` from the page itself."""

    verified: dict[str, str] = field(default_factory=dict)
    unverified: dict[str, str] = field(default_factory=dict)
