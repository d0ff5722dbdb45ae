"""Our registration at somebody else's registrar: refresh, bounds, refusals and waits, on virtual time."""

from __future__ import annotations

import pytest

from mediaserver.sip.config import MessageLimits
from mediaserver.sip.message import Response
from mediaserver.sip.parser import parse_datagram
from mediaserver.sip.target_health import TargetHealth
from mediaserver.sip.upstream import BASE_WAIT_S, LONG_BASE_WAIT_S, LONGEST_WAIT_S, Upstream


def response(code: int, *lines: str) -> Response:
    text = "\r\n".join(
        (
            f"SIP/2.0 {code} Something",
            "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx",
            "From: <sip:us@carrier.test>;tag=1",
            "To: <sip:us@carrier.test>;tag=2",
            "Call-ID: c",
            "CSeq: 1 REGISTER",
            *lines,
            "Content-Length: 0",
            "",
            "",
        )
    )
    message = parse_datagram(text.encode(), MessageLimits())
    assert isinstance(message, Response)
    return message


@pytest.fixture
def ours() -> Upstream:
    return Upstream(3600, lambda: 1.0)


def test_a_success_is_refreshed_at_half_of_what_was_granted(ours: Upstream) -> None:
    assert ours.begin() == (1, 3600)
    assert ours.answered(response(200, "Contact: <sip:us@192.0.2.1>;expires=600"), 200, 1000.0)
    assert (ours.state, ours.registered_until, ours.next_at) == ("registered", 1600.0, 1300.0)
    assert ours.begin() == (3, 3600)
    assert not ours.answered(response(200, "Expires: 60", "Contact: <sip:us@192.0.2.1>"), 200, 1300.0)
    assert ours.registered_until == 1360.0


def test_the_shortest_of_several_bindings_counts_and_silence_is_what_we_asked(ours: Upstream) -> None:
    ours.begin()
    ours.answered(response(200, "Contact: <sip:a@h>;expires=7200, <sip:us@h>;expires=300"), 200, 0.0)
    assert ours.registered_until == 300.0
    ours.begin()
    ours.answered(response(200), 200, 0.0)
    assert ours.registered_until == 3600.0


def test_too_brief_is_asked_again_at_once_with_what_the_registrar_names(ours: Upstream) -> None:
    ours.expires_s = 60
    ours.begin()
    assert not ours.answered(response(423, "Min-Expires: 1800"), 423, 10.0)
    assert (ours.next_at, ours.begin()) == (10.0, (3, 1800))


def test_a_registrar_that_always_asks_for_more_does_not_keep_us_busy(ours: Upstream) -> None:
    waits = []
    for number in range(6):
        ours.begin()
        ours.answered(response(423, f"Min-Expires: {4000 + number}"), 423, 0.0)
        waits.append(ours.next_at > 0)
    assert waits == [False, False, False, True, True, True]


@pytest.mark.parametrize("line", ["Min-Expires: 60", "Min-Expires: soon", "Subject: none", "Min-Expires: 99999999999"])
def test_a_423_that_makes_no_sense_waits_like_any_failure(ours: Upstream, line: str) -> None:
    ours.begin()
    ours.answered(response(423, line), 423, 10.0)
    assert ours.next_at == 10.0 + 2 * BASE_WAIT_S


def test_waits_double_up_to_a_bound(ours: Upstream) -> None:
    waits = []
    for _ in range(8):
        ours.begin()
        ours.answered(None, 408, 0.0)
        waits.append(ours.next_at)
    # RFC 5626 §4.5: the first retry comes between 30 and 60 s after the first failure.
    assert waits == [60, 120, 240, 480, 960, 1800, 1800, 1800]
    assert waits[-1] == LONGEST_WAIT_S
    ours.spread = lambda: 0.0
    ours.failures = 0
    ours.answered(None, 408, 0.0)
    assert ours.next_at == BASE_WAIT_S


def test_a_registration_that_lasted_ends_the_count_of_failures(ours: Upstream) -> None:
    ours.answered(None, 408, 0.0)
    ours.answered(response(200), 200, 60.0)
    ours.answered(response(200), 200, 80.0)
    assert ours.failures == 1
    ours.answered(response(200), 200, 90.0)
    assert ours.failures == 0


def test_another_flow_that_lives_leaves_more_time(ours: Upstream) -> None:
    ours.answered(None, 408, 0.0, others_live=True)
    assert ours.next_at == 2 * LONG_BASE_WAIT_S


def test_retry_after_has_the_last_word(ours: Upstream) -> None:
    ours.begin()
    ours.answered(response(503, "Retry-After: 77"), 503, 0.0)
    assert ours.next_at == 77.0


def test_a_failed_refresh_leaves_us_registered_until_the_time_is_over(ours: Upstream) -> None:
    ours.begin()
    ours.answered(response(200, "Expires: 120"), 200, 0.0)
    ours.begin()
    assert not ours.answered(None, 408, 60.0)
    assert ours.state == "registered"
    assert not ours.expired(119.0)
    assert ours.expired(120.0)
    assert ours.state == "unregistered"


def test_a_wrong_password_is_a_refusal_and_is_not_hammered(ours: Upstream) -> None:
    ours.begin()
    assert ours.answered(response(403), 403, 0.0)
    assert (ours.state, ours.next_at >= BASE_WAIT_S / 2) == ("refused", True)


def test_service_routes_are_kept_if_they_are_loose(ours: Upstream) -> None:
    ours.begin()
    ours.answered(response(200, "Service-Route: <sip:edge.carrier.test;lr>, <sip:strict.carrier.test>"), 200, 0.0)
    assert [str(route) for route in ours.service_routes] == ["<sip:edge.carrier.test;lr>"]


URN = "urn:uuid:00000000-0000-4000-8000-000000000001"
KNOWS = ("Require: outbound", "Flow-Timer: 40", "Expires: 600")


@pytest.fixture
def flowing() -> Upstream:
    return Upstream(3600, lambda: 1.0, URN, 2)


def test_outbound_is_asked_for_and_in_force_only_where_the_registrar_says_so(flowing: Upstream) -> None:
    assert flowing.headers == (("Supported", "path, outbound"),)
    assert flowing.contact_params == f';+sip.instance="<{URN}>";reg-id=2'
    flowing.begin()
    flowing.answered(response(200, "Expires: 600"), 200, 0.0)
    assert (flowing.state, flowing.outbound, flowing.flow_timer_s) == ("registered", False, None)
    flowing.answered(response(200, *KNOWS), 200, 0.0)
    assert (flowing.outbound, flowing.flow_timer_s) == (True, 40.0)


def test_a_registrar_that_requires_what_was_not_asked_for_gets_no_flows(ours: Upstream) -> None:
    assert (ours.headers, ours.contact_params) == ((), "")
    ours.begin()
    ours.answered(response(200, *KNOWS), 200, 0.0)
    assert not ours.outbound


@pytest.mark.parametrize("line", ["Flow-Timer: soon", "Flow-Timer: -4", "Flow-Timer: 0", "Subject: none"])
def test_a_flow_timer_that_makes_no_sense_is_none(flowing: Upstream, line: str) -> None:
    flowing.begin()
    flowing.answered(response(200, "Require: path, Outbound", line), 200, 0.0)
    assert (flowing.outbound, flowing.flow_timer_s) == (True, None)


def test_our_own_binding_among_those_of_other_flows_tells_how_long_we_have(flowing: Upstream) -> None:
    flowing.begin()
    others = f'<sip:us@h>;+sip.instance="<{URN}>";reg-id=1;expires=20, <sip:us@g>;expires=30'
    own = f'<sip:us@h>;+sip.instance="<{URN}>";reg-id=2;expires=500'
    flowing.answered(response(200, f"Contact: {others}, {own}", *KNOWS), 200, 0.0)
    assert flowing.registered_until == 500.0


def test_a_first_hop_without_outbound_is_asked_at_once_without_it(flowing: Upstream) -> None:
    flowing.begin()
    flowing.answered(response(439), 439, 10.0)
    assert (flowing.next_at, flowing.headers, flowing.contact_params) == (10.0, (), "")
    flowing.begin()
    flowing.answered(response(439), 439, 10.0)
    assert flowing.next_at > 10.0  # asked without, refused all the same: like any failure


def test_a_flow_that_was_proven_is_formed_anew_at_once_and_with_outbound_we_are_gone_until_then(
    flowing: Upstream,
) -> None:
    flowing.begin()
    flowing.answered(response(200, *KNOWS), 200, 0.0)
    flowing.flow_proven()
    assert flowing.flow_failed(50.0)
    assert (flowing.state, flowing.registered_until, flowing.next_at) == ("unregistered", None, 50.0)


def test_flows_that_do_not_last_are_formed_ever_more_seldom(flowing: Upstream) -> None:
    waits, now = [], 0.0
    for _ in range(4):
        flowing.begin()
        flowing.answered(response(200, *KNOWS), 200, now)
        flowing.flow_failed(now + 1.0)
        waits.append(flowing.next_at - now - 1.0)
        now = flowing.next_at
    assert waits == [60, 120, 240, 480]
    flowing.answered(response(200, *KNOWS), 200, now)
    flowing.flow_proven()
    flowing.flow_failed(now + 1.0)
    assert flowing.next_at == now + 1.0


def test_where_keep_alives_are_never_answered_silence_is_no_failure_in_the_end(flowing: Upstream) -> None:
    judged = []
    for number in range(3):
        judged.append(flowing.judges_silence)
        flowing.answered(response(200, *KNOWS), 200, float(number))
        flowing.flow_failed(float(number))
    assert judged == [True, True, False]


def test_without_outbound_a_closed_connection_leaves_us_registered_and_one_that_lasted_is_opened_again_at_once(
    flowing: Upstream,
) -> None:
    flowing.begin()
    flowing.answered(response(200, "Expires: 600"), 200, 0.0)
    assert not flowing.flow_failed(5.0)
    assert (flowing.state, flowing.registered_until, flowing.next_at) == ("registered", 600.0, 65.0)
    flowing.answered(response(200, "Expires: 600"), 200, 65.0)
    flowing.flow_failed(95.0)
    assert flowing.next_at == 95.0


def test_a_target_dies_after_failures_in_a_row_and_lives_after_successes() -> None:
    health = TargetHealth(failures=2, successes=2)
    assert not health.heard(408, 0.0)
    assert health.state == "unknown"
    assert health.heard(404, 1.0)
    assert health.state == "up"
    verdicts = [health.heard(code, 2.0) for code in (503, 200, 408, 500)]
    assert (verdicts, health.state, health.since) == ([False, False, False, True], "down", 2.0)
    assert [health.heard(code, 3.0) for code in (200, 408, 200, 405)] == [False, False, False, True]
    assert health.state == "up"
