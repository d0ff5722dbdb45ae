"""What is known about a contact, bounded, with the trusted part kept apart from what a page merely said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mediaserver.call.signaling import AttributesRefused

_SHOWN_NAME_CHARS = 64


@dataclass(frozen=True, slots=True)
class AttributeLimits:
    """How much may be said of a contact by one side (`limits.attributes`, `limits.attribute_size`)."""

    count: int = 32
    size_bytes: int = 1024
    """Of one attribute in UTF-8, name and value together."""

    def bounded(self, attributes: Mapping[str, str]) -> dict[str, str]:
        """A copy of `attributes`. Raises AttributesRefused when there are more or longer ones than a contact keeps."""
        if len(attributes) > self.count:
            raise AttributesRefused(
                f"{len(attributes)} attributes given, at most {self.count} are kept", limit="limits.attributes"
            )
        for name, value in attributes.items():
            # A lone surrogate, which JSON lets through, is counted like any other character.
            size = len((name + value).encode("utf-8", "surrogatepass"))
            if size > self.size_bytes:
                raise AttributesRefused(
                    f"attribute {name[:_SHOWN_NAME_CHARS]!r} has {size} bytes with its name, at most "
                    f"{self.size_bytes} are kept",
                    limit="limits.attribute_size",
                )
        return dict(attributes)


@dataclass(slots=True)
class Attributes:
    """`verified` comes from a token signed by the house or from a trusted trunk; `unverified` from the page itself."""

    verified: dict[str, str] = field(default_factory=dict)
    unverified: dict[str, str] = field(default_factory=dict)
