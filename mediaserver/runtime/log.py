"""Structured logs: JSON or console lines, ids from the context, and no secret in any of them."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

LogFormat = Literal["json", "console", "auto"]
"""`auto` is console on a terminal and JSON elsewhere."""

REDACTED = "[redacted]"

_SECRET_WORDS = frozenset(
    {"secret", "secrets", "password", "passwd", "pwd", "token", "authorization", "ufrag", "key", "cookie", "resume"}
)
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
# Secrets inside longer texts, as protocol messages carry them: SIP and HTTP credentials, SDP keys.
_IN_TEXT = re.compile(
    r"(?im)(^(?:proxy-)?authorization:[ \t]*|^a=ice-(?:pwd|ufrag):|^a=crypto:\d+[ \t]+\S+[ \t]+inline:|\bBearer[ \t]+)"
    r"[^\r\n]+"
)
_MAX_DEPTH = 6


def configure(level: str = "info", format: LogFormat = "auto", *, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging (aiohttp) to write to `stream` (stderr)."""
    out = stream if stream is not None else sys.stderr
    as_json = format == "json" or (format == "auto" and not out.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if as_json:
        shared.append(structlog.processors.format_exc_info)
    shared.append(redact)
    render: Processor = (
        structlog.processors.JSONRenderer(default=repr)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=_Logger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    # These libraries tell every request or statement at their lowest levels; ours are enough.
    for name in ("aiohttp.access", "asyncio"):
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


class _Logger(structlog.stdlib.BoundLogger):
    """Drops what nobody wants to read before anything of it is gathered: several lines of every call are `info`."""

    def debug(self, event: str | None = None, *args: Any, **fields: Any) -> Any:
        """See `structlog.stdlib.BoundLogger`."""
        return super().debug(event, *args, **fields) if self._logger.isEnabledFor(logging.DEBUG) else None

    def info(self, event: str | None = None, *args: Any, **fields: Any) -> Any:
        """See `structlog.stdlib.BoundLogger`."""
        return super().info(event, *args, **fields) if self._logger.isEnabledFor(logging.INFO) else None


def redact(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Replace the value of every key that names a secret, at any depth, and secrets inside protocol text."""
    for key in list(event):
        event[key] = REDACTED if names_secret(key) else _clean(event[key], _MAX_DEPTH)
    return event


def names_secret(key: object) -> bool:
    """Whether a key of this name holds something that must not be shown."""
    return isinstance(key, str) and any(word.lower() in _SECRET_WORDS for word in _WORD.findall(key))


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _IN_TEXT.sub(lambda found: found.group(1) + REDACTED, value)
    if depth == 0 or isinstance(value, (int, float, type(None))):
        return value
    if isinstance(value, (Mapping, MutableMapping)):
        return {k: REDACTED if names_secret(k) else _clean(v, depth - 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item, depth - 1) for item in value]
    return value
