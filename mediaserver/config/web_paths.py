"""A path of a proxy, beneath which everything of the public listeners is."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema

_OWN: Final = ("v1", "web", "call", "agent", "room", "widget.js", "healthz", "readyz")
"""First segments of paths that pages and API have anyway; `sip…` is one more."""
_SEGMENTS: Final = r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*){1,8}"


def _path_prefix(value: object) -> object:
    if value is None:
        return None
    text = value.rstrip("/") if isinstance(value, str) else ""
    if len(text) > 200 or not re.fullmatch(_SEGMENTS, text):
        raise ValueError("expected a path like /video/, of letters, digits and -._~, or null")
    first = text.split("/")[1]
    if first in _OWN or first.startswith("sip"):
        raise ValueError(f"/{first} is a path of this server itself: choose another, like /video/")
    return text


PathPrefix = Annotated[
    str,
    BeforeValidator(_path_prefix),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": rf"^{_SEGMENTS}/?$",
            "description": "A path, like /video/",
            "examples": ["/video/"],
        }
    ),
]
"""Begins with a slash and ends without one."""
