"""What the messages of a session are made of: the strict base of all, and the bounded texts in them."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from mediaserver.config.limits import MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTES

MAX_SDP_CHARS: Final = 65_536
"""Longest session description inside a message, in characters."""

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._~:@+-]+$")]
"""An id or token part made of URL-safe characters."""

Token = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[A-Za-z0-9._~+/=-]+$")]
"""A bearer token (RFC 6750 §2.1), a JWT for instance."""

Sdp = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SDP_CHARS)]
ShortText = Annotated[str, StringConstraints(max_length=256)]
AttributeName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
AttributeValue = Annotated[str, StringConstraints(max_length=MAX_ATTRIBUTE_BYTES)]
Attributes = Annotated[dict[AttributeName, AttributeValue], Field(max_length=MAX_ATTRIBUTES)]
"""What a page says of its caller. These bounds only keep the message small; the contact keeps what `limits` allow."""

ExchangeId = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""Pairs an offer with its answer; each side counts its own offers."""


class Message(BaseModel):
    """Unknown keys and wrong types are refused; nothing is converted."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


Mid = Annotated[str, StringConstraints(min_length=1, max_length=32)]
"""Names a section of a session description (RFC 8843)."""

MediaKindName = Literal["audio", "video", "screen"]
"""Sound, a camera's picture, a screen's."""
