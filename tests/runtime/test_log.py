"""Logs: JSON lines with ids, and nothing secret in them."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.runtime import log

SECRET = "hunter2-hunter2"


def logged(**event: Any) -> dict[str, Any]:
    out = io.StringIO()
    log.configure("info", "json", stream=out)
    structlog.get_logger("test").info("happened", **event)
    line: dict[str, Any] = json.loads(out.getvalue())
    return line


def test_a_line_has_time_level_logger_event_and_bound_ids() -> None:
    structlog.contextvars.bind_contextvars(contact_id="c-1")
    line = logged(leg="sip")
    assert (line["event"], line["level"], line["logger"]) == ("happened", "info", "test")
    assert (line["contact_id"], line["leg"]) == ("c-1", "sip")
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    "key",
    [
        "secret",
        "password",
        "auth_token",
        "Authorization",
        "localUfrag",
        "ice-pwd",
        "session_key",
        "privateKey",
        "cookie",
    ],
)
def test_keys_that_name_secrets_are_redacted_at_any_depth(key: str) -> None:
    line = logged(**{key: SECRET}, inner={"list": [{key: SECRET}]})
    assert SECRET not in json.dumps(line)
    assert line[key] == log.REDACTED


@pytest.mark.parametrize("key", ["keyframes", "monkey", "tokenizer", "entry"])
def test_keys_that_only_look_like_secrets_stay(key: str) -> None:
    assert logged(**{key: "shown"})[key] == "shown"


@pytest.mark.parametrize(
    "text",
    [
        f'INVITE sip:a SIP/2.0\r\nAuthorization: Digest response="{SECRET}"\r\nVia: x\r\n',
        f"PROXY-AUTHORIZATION: Digest {SECRET}",
        f"v=0\r\na=ice-pwd:{SECRET}\r\nm=audio",
        f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{SECRET}|2^20",
        f"curl -H 'X: Bearer {SECRET}'",
    ],
)
def test_secrets_inside_protocol_text_are_redacted(text: str) -> None:
    line = logged(message=text)
    assert SECRET not in json.dumps(line)
    assert log.REDACTED in line["message"]


def test_an_exception_is_part_of_the_line_without_its_secrets() -> None:
    out = io.StringIO()
    log.configure("info", "json", stream=out)
    try:
        raise ValueError(f"bad header\nAuthorization: Digest {SECRET}")
    except ValueError:
        structlog.get_logger("test").exception("failed")
    line = json.loads(out.getvalue())
    assert "ValueError" in line["exception"]
    assert SECRET not in out.getvalue()


def test_lines_of_libraries_have_the_same_form() -> None:
    out = io.StringIO()
    log.configure("info", "json", stream=out)
    logging.getLogger("some.package").warning("slow %s", "query", extra={})
    line = json.loads(out.getvalue())
    assert (line["event"], line["level"], line["logger"]) == ("slow query", "warning", "some.package")


def test_the_level_is_held() -> None:
    out = io.StringIO()
    log.configure("warning", "json", stream=out)
    structlog.get_logger("test").info("quiet")
    assert out.getvalue() == ""


def test_auto_is_json_where_nobody_looks_and_console_elsewhere() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for out, is_json in ((io.StringIO(), True), (Terminal(), False)):
        log.configure("info", "auto", stream=out)
        structlog.get_logger("test").info("happened")
        assert out.getvalue().startswith("{") is is_json


@given(
    st.recursive(
        st.text() | st.binary() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_no_value_breaks_a_line(value: object) -> None:
    assert logged(value=value)["event"] == "happened"
