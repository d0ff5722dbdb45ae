"""Another next hop when one fails: at once, after silence, after 503; and those that failed rest (RFC 3263 §4.3)."""

from __future__ import annotations

import pytest

from mediaserver.sip.dead_targets import FIRST_REST_S, LONGEST_REST_S, DeadTargets
from mediaserver.sip.events import Progress, Rejected
from mediaserver.sip.flow import Destination, Target
from mediaserver.sip.headers import NameAddr
from mediaserver.sip.message import Request
from mediaserver.sip.parser import parse_datagram
from mediaserver.sip.transaction_layer import Transmit
from mediaserver.sip.uri import parse_sip_uri
from tests.sip.wire import Wire, answer

ONE, TWO, THREE = (Target("udp", f"192.0.2.1{number}", 5060) for number in (1, 2, 3))


class Trial(Wire):
    """One INVITE towards three targets; `hops` are where it was sent, repetitions left out."""

    def __init__(self) -> None:
        super().__init__()
        self.hops: list[Destination] = []
        self.invites: list[Request] = []
        self.last: Transmit | None = None

    def begin(self) -> None:
        self.core.invite(
            parse_sip_uri("sip:bob@pbx.test"),
            destinations=list(self.core.dead.ordered([ONE, TWO, THREE], self.now)),
            from_=NameAddr(parse_sip_uri("sip:alice@example.org")),
            to=NameAddr(parse_sip_uri("sip:bob@pbx.test")),
            body=b"offer",
            headers=(),
            credentials=None,
            max_forwards=70,
            now=self.now,
        )
        self.look()

    def look(self) -> None:
        self._events()
        while (transmit := self.core.poll_transmit()) is not None:
            if transmit.data.startswith(b"INVITE"):
                self.last = transmit
                if not self.hops or self.hops[-1] != transmit.destination:
                    self.hops.append(transmit.destination)
                    self.core.poll_event()
                    self.invites.append(self.parsed(transmit.data))

    def parsed(self, data: bytes) -> Request:
        message = parse_datagram(data, self.config.limits.message)
        assert isinstance(message, Request)
        return message

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (at := self.core.poll_timeout()) is not None and at <= end:
            self.now = max(self.now, at)
            self.core.handle_timeout(self.now)
            self.look()
        self.now = end

    def cannot_deliver(self) -> None:
        assert self.last is not None
        self.core.handle_transport_failure(self.last.key, self.last.destination, self.now)
        self.look()

    def answered(self, code: int, extra: str = "") -> None:
        self.receive(answer(self.invites[-1], code, extra=extra))
        self.look()

    def receive(self, data: bytes | str, flow: object = None) -> list[object]:  # type: ignore[override]
        raw = data.replace("\n", "\r\n").encode() if isinstance(data, str) else data
        self.core.handle_message(parse_datagram(raw, self.config.limits.message), self.flow, self.now)
        self.look()
        return []


@pytest.fixture
def trial() -> Trial:
    made = Trial()
    made.begin()
    return made


def test_a_hop_that_cannot_be_reached_gives_way_at_once(trial: Trial) -> None:
    trial.cannot_deliver()
    assert trial.hops == [ONE, TWO]
    assert trial.counts.table["sip.failovers"] == 1


def test_a_silent_hop_gives_way_long_before_timer_b(trial: Trial) -> None:
    trial.pass_time(3.9)
    assert trial.hops == [ONE]
    trial.pass_time(0.2)
    assert trial.hops == [ONE, TWO]
    trial.pass_time(4.0)
    assert trial.hops == [ONE, TWO, THREE]


def test_the_last_hop_has_the_whole_of_timer_b(trial: Trial) -> None:
    trial.pass_time(8.1)
    trial.pass_time(31.5)
    assert trial.events == []
    trial.pass_time(1.0)
    assert [event.code for event in trial.events if isinstance(event, Rejected)] == [408]
    assert trial.counts.table["sip.targets_died.timeout"] == 3


def test_a_503_gives_way_and_a_486_does_not(trial: Trial) -> None:
    trial.answered(503)
    assert trial.hops == [ONE, TWO]
    trial.answered(486)
    assert trial.hops == [ONE, TWO]
    assert [event.code for event in trial.events if isinstance(event, Rejected)] == [486]


def test_a_hop_that_rings_is_not_left_when_it_falls_silent(trial: Trial) -> None:
    trial.answered(180)
    trial.pass_time(60)
    assert trial.hops == [ONE]
    assert [type(event) for event in trial.events] == [Progress]


def test_the_next_call_begins_with_a_hop_that_lives(trial: Trial) -> None:
    trial.cannot_deliver()
    trial.answered(200)
    again = Trial()
    again.core = trial.core
    again.now = trial.now
    again.begin()
    assert again.hops == [TWO]
    again.now += FIRST_REST_S
    again.hops.clear()
    again.begin()
    assert again.hops == [ONE]


def test_retry_after_of_a_503_is_kept_and_an_answer_ends_the_rest(trial: Trial) -> None:
    trial.answered(503, extra="Retry-After: 7 (busy)\n")
    assert trial.core.dead.retry_at(ONE, trial.now) == trial.now + 7
    assert trial.core.dead.reason(ONE) == "503"
    assert trial.core.dead.answered(ONE)
    assert trial.core.dead.retry_at(ONE, trial.now) is None


def test_the_rest_doubles_up_to_a_bound_and_the_list_is_bounded() -> None:
    dead, now, rests = DeadTargets(capacity=3), 0.0, []
    for _ in range(8):
        dead.failed(ONE, "timeout", now)
        at = dead.retry_at(ONE, now)
        assert at is not None
        rests.append(at - now)
        now = at
    assert rests == [30, 60, 120, 240, 480, 600, 600, 600]
    assert rests[-1] == LONGEST_REST_S
    for number in range(10):
        dead.failed(Target("udp", "192.0.2.1", number), "timeout", now)
    assert len(dead) == 3


def test_where_all_rest_the_next_to_wake_is_tried_first() -> None:
    dead = DeadTargets()
    for at, target in ((2.0, ONE), (0.0, TWO), (1.0, THREE)):
        dead.failed(target, "timeout", at)
    assert dead.ordered([ONE, TWO, THREE], 3.0) == [TWO, THREE, ONE]


def test_a_failure_while_resting_does_not_lengthen_the_rest() -> None:
    dead = DeadTargets()
    assert dead.failed(ONE, "timeout", 0.0)
    assert not dead.failed(ONE, "timeout", 1.0)
    assert dead.retry_at(ONE, 1.0) == 1.0 + FIRST_REST_S
