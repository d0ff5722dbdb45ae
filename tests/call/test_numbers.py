"""Numbers of trunks: every form to and from E.164, what is no number, and what may not be called."""

from __future__ import annotations

import pytest

from mediaserver.call.numbers import NumberPlan, to_e164, written
from mediaserver.config.trunks import NumberForm, Numbers


@pytest.mark.parametrize(
    ("text", "region", "e164"),
    [
        ("030 1234567", "DE", "+49301234567"),
        ("0049 30 1234567", "DE", "+49301234567"),
        ("+49 (30) 123-4567", None, "+49301234567"),
        ("00441212345678", "DE", "+441212345678"),
        ("011441212345678", "US", "+441212345678"),
        ("2125551234", "US", "+12125551234"),
        ("0612345678", "FR", "+33612345678"),
        ("4711", "DE", "4711"),
        ("110", "DE", "110"),
        ("agent", "DE", "agent"),
        ("0301234567", None, "0301234567"),
        ("+", "DE", "+"),
        ("", "DE", ""),
        ("9" * 200, "DE", "9" * 200),
        ("+49301234567;ext=5", "DE", "+49301234567;ext=5"),
        ("٠٣٠١٢٣٤٥٦٧", "DE", "٠٣٠١٢٣٤٥٦٧"),
    ],
)
def test_numbers_are_read(text: str, region: str | None, e164: str) -> None:
    assert to_e164(text, region) == e164


@pytest.mark.parametrize(
    ("form", "own", "abroad"),
    [
        ("as_is", "+49301234567", "+12125551234"),
        ("e164", "+49301234567", "+12125551234"),
        ("plain", "49301234567", "12125551234"),
        ("international", "0049301234567", "0012125551234"),
        ("national", "0301234567", "0012125551234"),
    ],
)
def test_numbers_are_written_for_a_german_trunk(form: NumberForm, own: str, abroad: str) -> None:
    assert written("+49301234567", form, "DE") == own
    assert written("+12125551234", form, "DE") == abroad


def test_numbers_are_written_for_an_american_trunk() -> None:
    assert written("+12125551234", "national", "US") == "2125551234"
    assert written("+49301234567", "national", "US") == "01149301234567"
    assert written("+49301234567", "international", "US") == "01149301234567"


@pytest.mark.parametrize("form", ["e164", "plain", "international", "national"])
def test_what_is_no_number_stays(form: NumberForm) -> None:
    for text in ("agent", "4711", "*21#", "112"):
        assert written(text, form, "DE") == text


def test_a_plan_reads_writes_and_prefixes() -> None:
    plan = NumberPlan(
        Numbers(region="DE", incoming="e164", called="national", caller="plain", prefix="0", own="+4930900")
    )
    assert plan.read("0301234567") == "+49301234567"
    assert plan.read(None) is None
    assert plan.called("+49301234567") == "00301234567"
    assert plan.called("4711") == "04711"
    assert plan.caller("+49301234567") == "49301234567"
    assert plan.caller(None) == "4930900"
    assert NumberPlan(Numbers()).caller(None) is None
    assert NumberPlan(Numbers(region="DE")).read("0301234567") == "0301234567"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("09001234567", "premium_rate"),
        ("+499001234567", "premium_rate"),
        ("01805123456", "shared_cost"),
        ("0088213300655", "no_country"),
        ("+870773111632", "no_country"),
        ("+12125551234", "country"),
        ("0301234567", None),
        ("+43123456789", None),
        ("4711", None),
    ],
)
def test_costly_and_foreign_numbers_are_denied(number: str, reason: str | None) -> None:
    denied = NumberPlan(Numbers(region="DE", countries=("DE", "AT"))).denied(number)
    assert (denied.reason if denied else None) == reason


def test_premium_numbers_may_be_allowed() -> None:
    plan = NumberPlan(Numbers(region="DE", premium=True))
    assert plan.denied("09001234567") is None
    assert plan.denied("+870773111632") is None
