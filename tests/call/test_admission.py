"""Admission control: lower rate, sound alone, refusal; mid-call changes, reload, and what is counted and noted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mediaserver.call.admission import EDGES, GROWTH_DELAY_S, Admission
from mediaserver.call.booking import USUAL_PICTURE_BPS, Booking, Party
from mediaserver.config.loader import load_text
from mediaserver.core.sites import Hop
from mediaserver.errors import InsufficientBandwidth
from mediaserver.runtime.metrics import Metrics
from mediaserver.sdp.bandwidth import Packets
from mediaserver.sdp.codecs import KNOWN

OPUS, PCMU, H264 = KNOWN["opus"], KNOWN["PCMU"], KNOWN["H264"]
MUNICH = Party(address="10.1.0.5")
ACCESS = Hop("site", "munich")


class House:
    """Admission control by one configuration, with the loop's timer in hand."""

    def __init__(self, text: str) -> None:
        self.metrics = Metrics()
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.notes: list[tuple[str, str]] = []
        self.admission = Admission(
            load_text(text).config,
            metrics=self.metrics,
            call_later=lambda delay, callback: self.timers.append((delay, callback)),
        )
        self._legs = 0

    def leg(self, party: Party = MUNICH, peer: Booking | None = None) -> Booking:
        self._legs += 1
        return self.admission.book(
            f"leg{self._legs}",
            party,
            contact_id="contact",
            peer=peer,
            note=lambda what, detail: self.notes.append((what, detail)),
        )

    def decisions(self, kind: str, outcome: str, site: str = "munich") -> float:
        return self.metrics.value("admission_decisions_total", site=site, kind=kind, outcome=outcome)


def house(budget: str = "", more: str = "") -> House:
    return House(f"sites: {{munich: {{cidrs: [10.1.0.0/16], budget: {{{budget}}}, {more}}}}}")


def test_without_sites_and_caps_everything_goes_and_nothing_is_said() -> None:
    free = House("")
    leg = free.leg()
    assert leg.narrow({"audio": (OPUS, PCMU), "video": (H264,)}) == {"audio": (OPUS, PCMU), "video": (H264,)}
    assert (leg.cap("audio"), leg.cap("video")) == (None, None)
    assert free.notes == []
    assert b"admission_decisions_total{" not in free.metrics.render()


def test_sound_reserves_the_most_that_its_codecs_may_need_until_one_is_chosen() -> None:
    munich = house("audio: 1 Mbit/s")
    leg = munich.leg()
    leg.narrow({"audio": (OPUS, PCMU)})
    assert munich.admission.used(ACCESS, "audio") == 80_000
    leg.settle({"audio": (OPUS,)})
    assert munich.admission.used(ACCESS, "audio") == 56_000
    assert leg.cap("audio") == 56_000


def test_codecs_that_need_more_than_there_is_are_left_out() -> None:
    munich = house("audio: 70 kbit/s")
    leg = munich.leg()
    assert leg.narrow({"audio": (PCMU, OPUS)}) == {"audio": (OPUS,)}
    assert (leg.decision.outcome, leg.cap("audio")) == ("lower_rate", 56_000)


def test_opus_is_told_the_rate_that_is_left() -> None:
    munich = house("audio: 40 kbit/s")
    (opus,) = munich.leg().narrow({"audio": (PCMU, OPUS)})["audio"]
    assert opus.name == "opus"
    assert opus.fmtp["maxaveragebitrate"] == "24000"
    assert munich.admission.used(ACCESS, "audio") == 40_000


def test_events_stay_with_the_sound_they_belong_to() -> None:
    munich = house("audio: 70 kbit/s")
    kept = munich.leg().narrow({"audio": (PCMU, OPUS, KNOWN["telephone-event"])})
    assert [codec.name for codec in kept["audio"]] == ["opus", "telephone-event"]


def test_a_call_whose_sound_has_no_room_is_refused_and_keeps_nothing() -> None:
    munich = house("audio: 100 kbit/s, video: 5 Mbit/s")
    munich.leg().narrow({"audio": (PCMU,)})
    second = munich.leg()
    with pytest.raises(InsufficientBandwidth, match=r"not enough bandwidth for audio") as refused:
        second.narrow({"audio": (PCMU,), "video": (H264,)})
    assert refused.value.limit == "sites.munich.budget.audio"
    assert munich.admission.used(ACCESS, "audio") == 80_000
    assert munich.admission.used(ACCESS, "video") == 0
    assert munich.decisions("leg", "refused") == 1


def test_a_picture_without_room_leaves_a_call_of_sound() -> None:
    munich = house("video: 200 kbit/s")
    munich.leg().narrow({"audio": (PCMU,), "video": (H264,)})
    second = munich.leg()
    assert second.narrow({"audio": (PCMU,), "video": (H264,)}) == {"audio": (PCMU,)}
    assert second.decision.outcome == "audio_only"
    assert second.decision.denied == {"video": "sites.munich.budget.video"}
    assert second.cap("video") == 0
    assert munich.decisions("video", "refused") == munich.decisions("leg", "audio_only") == 1
    assert munich.notes[-1] == (
        "bandwidth",
        "audio_only at munich: audio admitted, video refused (sites.munich.budget.video)",
    )


def test_a_leg_of_pictures_alone_is_refused_with_its_picture() -> None:
    munich = house("video: 100 kbit/s")
    with pytest.raises(InsufficientBandwidth):
        munich.leg().narrow({"video": (H264,)})


def test_a_picture_takes_what_is_free_up_to_what_is_usual() -> None:
    munich = house("video: 4 Mbit/s")
    first, second = munich.leg(), munich.leg()
    first.narrow({"audio": (PCMU,), "video": (H264,)})
    second.narrow({"audio": (PCMU,), "video": (H264,)})
    assert first.cap("video") == USUAL_PICTURE_BPS
    assert second.cap("video") == 4_000_000 - USUAL_PICTURE_BPS
    assert (first.decision.outcome, second.decision.outcome) == ("admitted", "lower_rate")


def test_a_grown_picture_gives_way_to_a_new_call_and_its_leg_is_told() -> None:
    munich = house("video: 1 Mbit/s")
    first, second = munich.leg(), munich.leg()
    first.narrow({"video": (H264,)})
    told: list[tuple[str, int]] = []
    first.on_change = lambda kind, bps: told.append((kind, bps))
    second.narrow({"video": (H264,)})
    assert told == [("video", 850_000)]
    assert (first.cap("video"), second.cap("video")) == (850_000, 150_000)
    assert munich.notes[-2:][0] == ("bandwidth", "video now 850 kbit/s, was 1 Mbit/s")


def test_room_that_came_free_is_lent_again_after_a_while_and_once() -> None:
    munich = house("video: 1 Mbit/s")
    first, second = munich.leg(), munich.leg()
    first.narrow({"video": (H264,)})
    second.narrow({"video": (H264,)})
    second.release()
    second.release()
    assert [delay for delay, _ in munich.timers] == [GROWTH_DELAY_S]
    assert first.cap("video") == 850_000
    munich.timers.pop()[1]()
    assert first.cap("video") == 1_000_000


@pytest.mark.parametrize(
    ("text", "party", "key"),
    [
        ("media: {bandwidth: {track: {video: 400 kbit/s}}}", MUNICH, "media.bandwidth.track.video"),
        (
            "sites: {munich: {cidrs: [10.1.0.0/16], per_call: {video: 400 kbit/s}}}",
            MUNICH,
            "sites.munich.per_call.video",
        ),
        (
            "trunks: {pbx: {peers: [10.9.9.9], target: 'sip:10.9.9.9', per_call: {video: 400 kbit/s}}}",
            Party(address="10.9.9.9", trunk="pbx"),
            "trunks.pbx.per_call.video",
        ),
        (
            "sites: {a: {here: true}, munich: {cidrs: [10.1.0.0/16], links: {a: {per_call: {video: 400 kbit/s}}}}}",
            MUNICH,
            "sites.munich.links.a.per_call.video",
        ),
    ],
)
def test_the_least_cap_on_the_way_bounds_a_leg(text: str, party: Party, key: str) -> None:
    leg = House(text).leg(party)
    leg.narrow({"video": (H264,)})
    assert leg.cap("video") == 400_000
    assert leg.decision.verdicts["video"].limit == key


def test_a_cap_below_what_a_picture_needs_is_no_picture() -> None:
    leg = House("media: {bandwidth: {track: {video: 100 kbit/s}}}").leg()
    assert leg.narrow({"audio": (PCMU,), "video": (H264,)}) == {"audio": (PCMU,)}
    assert leg.decision.denied == {"video": "media.bandwidth.track.video"}


def test_a_trunk_has_a_budget_of_its_own() -> None:
    pbx = House("trunks: {pbx: {peers: [10.9.9.9], target: 'sip:10.9.9.9', bandwidth: {audio: 160 kbit/s}}}")
    party = Party(address="10.9.9.9", trunk="pbx")
    legs = [pbx.leg(party) for _ in range(3)]
    for leg in legs[:2]:
        leg.narrow({"audio": (PCMU,)})
    with pytest.raises(InsufficientBandwidth) as refused:
        legs[2].narrow({"audio": (PCMU,)})
    assert refused.value.limit == "trunks.pbx.bandwidth.audio"
    assert pbx.decisions("audio", "refused", site="elsewhere") == 1


def test_a_room_and_a_participant_have_budgets_by_one_cap_for_all() -> None:
    text = "media: {bandwidth: {room: {video: 3 Mbit/s}, participant: {video: 2 Mbit/s}}}"
    rooms = House(text)
    one = rooms.leg(Party(room="r", participant="p1"))
    other = rooms.leg(Party(room="r", participant="p2"))
    elsewhere = rooms.leg(Party(room="s", participant="p3"))
    for leg in (one, other, elsewhere):
        leg.narrow({"video": (H264,)})
    assert [leg.cap("video") for leg in (one, other, elsewhere)] == [2_000_000, 1_000_000, 2_000_000]


def test_the_peers_own_line_bounds_what_it_is_sent() -> None:
    munich = house("video: 10 Mbit/s")
    leg = munich.leg()
    leg.narrow({"audio": (PCMU,), "video": (H264,)}, {"video": 384_000})
    assert leg.cap("video") == 384_000
    assert munich.admission.used(ACCESS, "video") == 384_000


def test_a_peer_that_takes_no_picture_gets_none() -> None:
    leg = house("video: 10 Mbit/s").leg()
    assert leg.narrow({"audio": (PCMU,), "video": (H264,)}, {"video": 0}) == {"audio": (PCMU,)}
    assert leg.decision.denied == {"video": "peer"}


def test_a_line_that_leaves_no_sound_codec_is_not_believed() -> None:
    leg = house("audio: 1 Mbit/s").leg()
    assert leg.narrow({"audio": (PCMU,)}, {"audio": 64_000}) == {"audio": (PCMU,)}
    assert leg.cap("audio") == 80_000


def test_what_the_answer_left_out_is_given_back() -> None:
    munich = house("audio: 1 Mbit/s, video: 1 Mbit/s")
    leg = munich.leg()
    leg.narrow({"audio": (PCMU,), "video": (H264,)})
    leg.settle({"audio": (PCMU,)}, {})
    assert munich.admission.used(ACCESS, "video") == 0


def test_an_answer_that_takes_less_picture_is_charged_less() -> None:
    munich = house("video: 5 Mbit/s")
    leg = munich.leg()
    leg.narrow({"video": (H264,)})
    leg.settle({"video": (H264,)}, {"video": 512_000})
    assert (leg.cap("video"), munich.admission.used(ACCESS, "video")) == (512_000, 512_000)


def test_a_reoffer_is_charged_the_difference_and_one_that_does_not_fit_changes_nothing() -> None:
    munich = house("audio: 130 kbit/s, video: 100 kbit/s")
    leg, other = munich.leg(), munich.leg()
    leg.narrow({"audio": (OPUS,)})
    other.narrow({"audio": (OPUS,)})
    assert munich.admission.used(ACCESS, "audio") == 112_000
    with pytest.raises(InsufficientBandwidth):
        leg.narrow({"audio": (PCMU,)})
    assert munich.admission.used(ACCESS, "audio") == 112_000
    assert leg.cap("audio") == 56_000
    other.release()
    assert leg.narrow({"audio": (PCMU,)}) == {"audio": (PCMU,)}
    assert munich.admission.used(ACCESS, "audio") == 80_000


def test_the_two_legs_of_a_call_are_charged_the_links_between_their_sites() -> None:
    text = """
sites:
  munich: {cidrs: [10.1.0.0/16], links: {berlin: {budget: {audio: 100 kbit/s}}}}
  berlin: {cidrs: [10.2.0.0/16]}
"""
    country = House(text)
    caller = country.leg()
    caller.narrow({"audio": (PCMU,)})
    callee = country.leg(Party(address="10.2.0.1"), peer=caller)
    callee.narrow({"audio": (PCMU,)})
    second = country.leg(Party(address="10.2.0.2"), peer=caller)
    with pytest.raises(InsufficientBandwidth) as refused:
        second.narrow({"audio": (PCMU,)})
    assert refused.value.limit == "sites.munich.links.berlin.budget.audio"


def test_a_reload_that_takes_room_away_cuts_nobody_and_admits_nobody() -> None:
    munich = house("audio: 160 kbit/s, video: 2 Mbit/s")
    legs = [munich.leg() for _ in range(2)]
    for leg in legs:
        leg.narrow({"audio": (PCMU,), "video": (H264,)})
    munich.admission.reload(house("audio: 80 kbit/s, video: 200 kbit/s").admission._config)
    assert [leg.cap("audio") for leg in legs] == [80_000, 80_000]
    assert [leg.cap("video") for leg in legs] == [150_000, 150_000]
    with pytest.raises(InsufficientBandwidth):
        munich.leg().narrow({"audio": (PCMU,)})
    for leg in legs:
        leg.release()
    munich.leg().narrow({"audio": (PCMU,)})


def test_a_reload_that_brings_room_lends_it() -> None:
    munich = house("video: 1 Mbit/s")
    leg = munich.leg()
    leg.narrow({"video": (H264,)})
    munich.admission.reload(house("video: 2 Mbit/s").admission._config)
    munich.timers.pop()[1]()
    assert leg.cap("video") == 2_000_000


def test_what_is_used_of_which_line_can_be_read_off_the_metrics() -> None:
    munich = house("audio: 1 Mbit/s")
    munich.leg().narrow({"audio": (PCMU,)})
    of = {"hop": "site munich", "kind": "audio"}
    assert munich.metrics.value("admission_reserved_bits_per_second", **of) == 80_000
    assert munich.metrics.value("admission_budget_bits_per_second", **of) == 1_000_000


def test_headers_of_the_legs_own_transport_are_counted() -> None:
    munich = House("sites: {munich: {cidrs: ['2001:db8::/32'], budget: {audio: 1 Mbit/s}}}")
    leg = munich.leg(Party(address="2001:db8::5", packets=Packets(auth_tag=10)))
    leg.narrow({"audio": (PCMU,)})
    assert leg.cap("audio") == 64_000 + 70 * 8 * 50


def test_legs_by_an_edge_share_the_line_to_it_and_its_headers_count() -> None:
    made = House("link: {budget: {audio: 200 kbit/s}, per_call: {video: 500 kbit/s}}")
    made.admission.through_edge = {"203.0.113.9"}.__contains__
    inside, visitor = made.leg(Party(address="10.1.0.5")), made.leg(Party(address="203.0.113.9"))
    inside.narrow({"audio": (PCMU,), "video": (H264,)})
    visitor.narrow({"audio": (PCMU,), "video": (H264,)})
    assert (inside.way, inside.cap("video")) == ((), None)
    assert (visitor.way, visitor.cap("video")) == ((EDGES,), 500_000)
    # 50 packets a second: 160 bytes of sound, 40 of headers, 8 of the link's frames.
    assert made.admission.used(EDGES, "audio") == (160 + 40 + 8) * 8 * 50
    second = made.leg(Party(address="203.0.113.9"))
    second.narrow({"audio": (PCMU,)})
    with pytest.raises(InsufficientBandwidth) as refused:
        made.leg(Party(address="203.0.113.9")).narrow({"audio": (PCMU,)})
    assert refused.value.limit == "link.budget.audio"
    second.release()
    made.leg(Party(address="203.0.113.9")).narrow({"audio": (PCMU,)})


def test_without_bounds_of_the_line_to_the_edges_a_leg_by_one_is_like_any_other() -> None:
    made = House("")
    made.admission.through_edge = lambda address: True
    leg = made.leg(Party(address="203.0.113.9"))
    assert (leg.way, leg.packets.frame, leg.matters) == ((), 0, False)
