"""Offer and answer with browsers, on recorded and composed descriptions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

import pytest

from mediaserver.errors import LocalProtocolError, NegotiationError, RemoteProtocolError
from mediaserver.sdp.codecs import AUDIO_CODECS, KNOWN, VIDEO_CODECS, is_media
from mediaserver.sdp.description import Direction, Fingerprint, SdpError
from mediaserver.sdp.parser import parse
from mediaserver.webrtc.negotiation import Changes, GlareError, LocalIceParams, MediaPolicy, Negotiation
from mediaserver.webrtc.section import DEPENDENCY_URI
from tests.webrtc.browser_texts import browser_answer, recorded

WHIP = MediaPolicy(directions={"audio": Direction.RECVONLY, "video": Direction.RECVONLY})
WHEP = MediaPolicy(directions={"audio": Direction.SENDONLY, "video": Direction.SENDONLY})
EVERYTHING = MediaPolicy(audio=AUDIO_CODECS, video=VIDEO_CODECS)


def ice(ufrag: str = "first-ufrag") -> LocalIceParams:
    addresses = (("192.0.2.1", 10000), ("2001:db8::1", 10000))
    return LocalIceParams(ufrag, "p" * 24, addresses, Fingerprint("sha-256", bytes(32)))


def numbers() -> Callable[[], int]:
    source: Iterator[int] = count(1000)
    return lambda: next(source)


def server(policy: MediaPolicy | None = None) -> Negotiation:
    return Negotiation(ice(), policy or MediaPolicy(), cname="server", random_u32=numbers())


def agreed(name: str = "chromium_sendrecv", policy: MediaPolicy | None = None) -> Negotiation:
    return agreed_text(recorded(name), policy)


def agreed_text(text: str, policy: MediaPolicy | None = None) -> Negotiation:
    negotiation = server(policy)
    negotiation.handle_offer(text)
    negotiation.create_answer()
    return negotiation


def server_answer(name: str) -> str:
    negotiation = server()
    negotiation.handle_offer(recorded(name))
    return negotiation.create_answer()


# Answers -------------------------------------------------------------------------------------------------------------

SENDRECV = ["chromium_sendrecv", "firefox_sendrecv", "safari_sendrecv", "safari_h264_only", "aiortc_sendrecv"]


@pytest.mark.parametrize("name", SENDRECV)
def test_every_recorded_browser_gets_sound_and_picture(name: str) -> None:
    negotiation = server()
    changes = negotiation.handle_offer(recorded(name))
    offer, answer = parse(recorded(name)), parse(negotiation.create_answer())
    assert (changes.first, changes.added, changes.ice_restart) == (True, ("0", "1"), False)
    assert [media.kind for media in answer.media] == [media.kind for media in offer.media]
    assert answer.bundled == ("0", "1")
    assert answer.ice_lite
    for ours, theirs in zip(answer.media[:2], offer.media[:2], strict=True):
        assert (ours.mid, ours.setup, ours.rtcp_mux) == (theirs.mid, "passive", True)
        assert ours.direction is Direction.SENDRECV
        assert {codec.pt for codec in ours.codecs} <= {codec.pt for codec in theirs.codecs}
        assert not ours.cryptos
        known = {extension.id: extension.uri for extension in theirs.extensions}
        assert all(known[extension.id] == extension.uri for extension in ours.extensions)
        assert all(codec.key not in ("ulpfec", "cn") for codec in ours.codecs)
        media_types = {str(codec.pt) for codec in ours.codecs if is_media(codec)}
        assert {codec.fmtp["apt"] for codec in ours.codecs if codec.key == "rtx"} <= media_types


@pytest.mark.parametrize("browser", ["chromium", "firefox"])
@pytest.mark.parametrize("kind", ["sendonly", "simulcast"])
def test_a_publisher_is_received_in_one_layer_where_the_policy_says_so(browser: str, kind: str) -> None:
    negotiation = server(replace(WHIP, simulcast=0))
    negotiation.handle_offer(recorded(f"{browser}_{kind}"))
    answer = negotiation.create_answer()
    assert [section.direction for section in negotiation.sections] == [Direction.RECVONLY, Direction.RECVONLY]
    assert "simulcast" not in answer
    assert "a=rid:" not in answer
    assert "a=ssrc" not in answer
    assert "a=msid" not in answer
    assert negotiation.sections[1].remote_rids == ()


@pytest.mark.parametrize("browser", ["chromium", "firefox"])
def test_every_layer_that_a_publisher_offers_is_taken(browser: str) -> None:
    negotiation = server(WHIP)
    negotiation.handle_offer(recorded(f"{browser}_simulcast"))
    video = parse(negotiation.create_answer()).media[1]
    assert video.simulcast is not None
    assert video.simulcast.receive == (("h",), ("m",), ("l",))
    assert [(rid.id, rid.direction) for rid in video.rids] == [("h", "recv"), ("m", "recv"), ("l", "recv")]
    assert negotiation.sections[1].remote_rids == ("h", "m", "l")
    assert not negotiation.sections[0].remote_rids


def test_layers_are_bounded_and_need_the_extension_that_names_them() -> None:
    text = recorded("chromium_simulcast")
    assert agreed_text(text, replace(WHIP, simulcast=2)).sections[1].remote_rids == ("h", "m")
    without = re.sub(r"a=extmap:\d+ urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n", "", text)
    assert agreed_text(without, WHIP).sections[1].remote_rids == ()
    undescribed = text.replace("a=rid:m send\r\n", "")
    assert agreed_text(undescribed, WHIP).sections[1].remote_rids == ("h", "l")
    alternatives = text.replace("a=simulcast:send h;m;l", "a=simulcast:send h,m;~l")
    assert agreed_text(alternatives, WHIP).sections[1].remote_rids == ("h", "l")


def test_layers_stay_through_an_offer_of_ours() -> None:
    negotiation = agreed("chromium_simulcast", WHIP)
    text = negotiation.create_offer()
    assert "a=simulcast:recv h;m;l\r\n" in text
    answer = (
        browser_answer(text).replace(" recv\r\n", " send\r\n").replace("simulcast:recv h;m;l", "simulcast:send h;l")
    )
    changes = negotiation.handle_answer(answer)
    assert negotiation.sections[1].remote_rids == ("h", "l")
    assert "1" in changes.ssrcs


def test_repair_has_a_stream_of_its_own_both_ways() -> None:
    negotiation = agreed()
    audio, video, _ = negotiation.sections
    assert (audio.local_repair_ssrc, dict(audio.remote_repairs)) == (0, {})
    assert set(video.remote_repairs) == {1410332055}
    answer = parse(server_answer("chromium_sendrecv")).media[1]
    (group,) = answer.ssrc_groups
    assert group.semantics == "FID"
    assert group.ssrcs == tuple(ssrc.id for ssrc in answer.ssrcs)
    assert len(set(group.ssrcs)) == 2
    assert "rtx" in {codec.key for codec in answer.codecs}
    without = server(MediaPolicy(repair=False))
    without.handle_offer(recorded("chromium_sendrecv"))
    plain = parse(without.create_answer()).media[1]
    assert not plain.ssrc_groups
    assert "rtx" not in {codec.key for codec in plain.codecs}


def test_red_stands_where_the_browser_put_it() -> None:
    text = recorded("chromium_sendrecv")
    assert [codec.name for codec in agreed_text(text).sections[0].send][:2] == ["opus", "red"]
    first = re.sub(r"(m=audio \S+ \S+) 111 63 ", r"\1 63 111 ", text)
    assert first != text
    assert [codec.name for codec in agreed_text(first).sections[0].send][:2] == ["red", "opus"]
    without = agreed_text(first, MediaPolicy(redundancy=False)).sections[0]
    assert "red" not in {codec.name for codec in without.send}


@pytest.mark.parametrize("browser", ["chromium", "firefox"])
def test_a_viewer_is_sent_what_the_room_has(browser: str) -> None:
    policy = MediaPolicy(directions=WHEP.directions, only={"audio": (KNOWN["opus"],), "video": (KNOWN["VP8"],)})
    negotiation = agreed(f"{browser}_recvonly", policy)
    assert [section.direction for section in negotiation.sections] == [Direction.SENDONLY, Direction.SENDONLY]
    assert [[codec.name for codec in s.send if is_media(codec)] for s in negotiation.sections] == [["opus"], ["VP8"]]
    assert all(section.local_ssrc for section in negotiation.sections)


def test_a_room_without_video_refuses_the_viewers_video_section() -> None:
    policy = MediaPolicy(directions=WHEP.directions, only={"video": ()})
    negotiation = server(policy)
    negotiation.handle_offer(recorded("chromium_recvonly"))
    answer = parse(negotiation.create_answer())
    assert [media.port for media in answer.media] == [10000, 0]
    assert answer.bundled == ("0",)


def test_codecs_come_in_the_order_of_the_policy_with_events_of_their_clocks() -> None:
    negotiation = agreed(policy=MediaPolicy(audio=("PCMU", "opus"), video=("VP8", "H264")))
    audio, video, _ = negotiation.sections
    assert [(codec.name, codec.pt) for codec in audio.receive] == [
        ("PCMU", 0),
        ("opus", 111),
        ("red", 63),
        ("telephone-event", 126),
        ("telephone-event", 110),
    ]
    assert [codec.pt for codec in video.receive if is_media(codec)] == [96, 108, 102, 104, 114, 116, 39]


def test_safaris_payload_types_are_echoed() -> None:
    negotiation = agreed("safari_sendrecv", MediaPolicy(video=("VP8", "H264")))
    assert [(codec.name, codec.pt) for codec in negotiation.sections[1].receive if is_media(codec)] == [
        ("VP8", 100),
        ("H264", 98),
        ("H264", 96),
    ]


def test_feedback_is_what_both_know_and_remb_beside_transport_cc_so_that_publishers_can_be_bounded() -> None:
    video = agreed(policy=EVERYTHING).sections[1]
    assert {frozenset(codec.feedback) for codec in video.receive if is_media(codec)} == {
        frozenset({"transport-cc", "goog-remb", "ccm fir", "nack", "nack pli"})
    }
    assert agreed("aiortc_sendrecv").sections[1].receive[0].feedback == ("nack", "nack pli", "goog-remb")


@pytest.mark.parametrize(
    ("name", "said", "reduced"),
    [
        ("chromium_sendrecv", ["audio", "video"], True),
        ("safari_sendrecv", ["audio", "video"], True),
        ("firefox_sendrecv", ["video"], True),
        ("aiortc_sendrecv", [], False),
    ],
)
def test_feedback_of_reduced_size_is_for_those_who_say_that_they_take_it(
    name: str, said: list[str], reduced: bool
) -> None:
    negotiation = server()
    negotiation.handle_offer(recorded(name))
    answer = parse(negotiation.create_answer())
    assert [media.kind for media in answer.media if media.rtcp_rsize] == said
    assert negotiation.reduced_size is reduced


def test_sound_alone_needs_to_say_it_for_itself() -> None:
    both = recorded("chromium_sendrecv")
    only_sound = MediaPolicy(video=())
    assert agreed_text(both, only_sound).reduced_size
    assert not agreed_text(both.replace("a=rtcp-rsize\r\n", "", 1), only_sound).reduced_size
    assert not agreed("firefox_sendrecv", only_sound).reduced_size


@pytest.mark.parametrize("takes", [True, False])
def test_we_offer_feedback_of_reduced_size_and_keep_to_the_answer(takes: bool) -> None:
    negotiation = server()
    offer = negotiation.create_offer(add=("audio", "video"))
    assert all(media.rtcp_rsize for media in parse(offer).media)
    answer = browser_answer(offer)
    negotiation.handle_answer(answer if takes else answer.replace("a=rtcp-rsize\r\n", ""))
    assert negotiation.reduced_size is takes
    assert [media.rtcp_rsize for media in parse(negotiation.create_offer()).media] == [takes, takes]


def test_only_extensions_of_the_engine_are_taken_with_one_map_for_the_transport() -> None:
    negotiation = agreed()
    assert [extension.id for extension in negotiation.extensions] == [1, 2, 3, 4, 10, 11]
    assert [extension.id for extension in agreed("firefox_simulcast", WHIP).extensions][:2] == [1, 3]


def test_an_extension_id_that_means_two_things_is_refused() -> None:
    broken = recorded("chromium_sendrecv").replace("a=extmap:14 urn", "a=extmap:1 urn")
    with pytest.raises(SdpError, match="extension id 1"):
        server().handle_offer(broken)


def test_repair_streams_are_not_media_streams() -> None:
    audio, video, _ = agreed().sections
    assert (audio.remote_ssrcs, video.remote_ssrcs) == ((2064431880,), (1410332055,))


def test_our_streams_are_announced_only_where_we_send() -> None:
    negotiation = server()
    negotiation.handle_offer(recorded("chromium_sendrecv"))
    answer = parse(negotiation.create_answer(directions={"1": Direction.INACTIVE}))
    audio, video, _ = negotiation.sections
    assert [(ssrc.id, ssrc.cname) for ssrc in answer.media[0].ssrcs] == [(audio.local_ssrc, "server")]
    assert answer.media[0].msid == audio.msid == "server server-0"
    assert (answer.media[1].ssrcs, answer.media[1].msid) == ((), None)
    assert video.local_ssrc not in (0, audio.local_ssrc)


def test_candidates_stand_in_the_section_of_the_transport_and_end_there() -> None:
    negotiation = server(MediaPolicy(audio=()))
    negotiation.handle_offer(recorded("chromium_sendrecv"))
    refused, video, _ = parse(negotiation.create_answer()).media
    assert refused.candidates == ()
    assert [(c.address, c.component, c.type) for c in video.candidates] == [
        ("192.0.2.1", 1, "host"),
        ("2001:db8::1", 1, "host"),
    ]
    assert video.candidates[0].priority > video.candidates[1].priority
    assert video.end_of_candidates


@pytest.mark.parametrize("who", ["answer", "offer"])
def test_tcp_is_passive_and_comes_after_all_udp(who: str) -> None:
    local = replace(ice(), tcp_addresses=(("192.0.2.1", 10000), ("2001:db8::1", 443)))
    negotiation = Negotiation(local, MediaPolicy(), cname="server", random_u32=numbers())
    negotiation.handle_offer(recorded("chromium_sendrecv"))
    text = negotiation.create_answer()
    if who == "offer":
        text = negotiation.create_offer()
    assert "a=candidate:4t1 1 tcp " in text
    assert " 192.0.2.1 10000 typ host tcptype passive\r\n" in text
    candidates = parse(text).media[0].candidates
    assert [(c.transport, c.address, c.port) for c in candidates] == [
        ("udp", "192.0.2.1", 10000),
        ("udp", "2001:db8::1", 10000),
        ("tcp", "192.0.2.1", 10000),
        ("tcp", "2001:db8::1", 443),
    ]
    priorities = [c.priority for c in candidates]
    assert priorities == sorted(priorities, reverse=True)
    assert len(set(priorities)) == len({c.foundation for c in candidates}) == 4
    # RFC 6544 §4.2: 4 is the preference of a passive candidate, in the upper bits of the local preference.
    assert [c.priority >> 21 & 7 for c in candidates[2:]] == [4, 4]


def test_an_offer_whose_parts_are_not_bundled_has_one_section_taken() -> None:
    text = recorded("aiortc_sendrecv").replace("a=group:BUNDLE 0 1\r\n", "")
    negotiation = server()
    negotiation.handle_offer(text)
    answer = negotiation.create_answer()
    assert [section.rejected for section in negotiation.sections] == [False, True]
    assert "BUNDLE" not in answer


def test_an_offer_without_mids_gets_an_answer_without_them() -> None:
    text = re.sub(r"a=(group|mid):.*\r\n", "", recorded("chromium_sendonly"))
    negotiation = server(WHIP)
    negotiation.handle_offer(text)
    assert "a=mid" not in negotiation.create_answer()
    assert negotiation.sections[0].mid == "0"


def test_a_second_section_of_a_kind_is_refused() -> None:
    text = recorded("chromium_sendrecv").replace("BUNDLE 0 1 2", "BUNDLE 0 1 2 3")
    video = text[text.index("m=video") : text.index("m=application")]
    negotiation = server()
    negotiation.handle_offer(text + video.replace("a=mid:1", "a=mid:3"))
    assert [section.rejected for section in negotiation.sections] == [False, False, True, True]
    wider = server(MediaPolicy(sections={"audio": 1, "video": 2}))
    wider.handle_offer(text + video.replace("a=mid:1", "a=mid:3"))
    assert [section.rejected for section in wider.sections] == [False, False, True, False]


# DTLS role and credentials -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "role", "answered"),
    [("actpass", "server", "passive"), ("active", "server", "passive"), ("passive", "client", "active")],
)
def test_we_are_the_dtls_server_wherever_the_browser_lets_us(offered: str, role: str, answered: str) -> None:
    negotiation = server()
    negotiation.handle_offer(recorded("chromium_sendrecv").replace("a=setup:actpass", f"a=setup:{offered}"))
    assert negotiation.transport is not None
    assert negotiation.transport.dtls_role == role
    assert f"a=setup:{answered}\r\n" in negotiation.create_answer()


def test_the_role_stays_when_a_client_is_offered_both_again() -> None:
    negotiation = server()
    negotiation.handle_offer(recorded("chromium_sendrecv").replace("a=setup:actpass", "a=setup:passive"))
    negotiation.create_answer()
    negotiation.handle_offer(recorded("chromium_sendrecv"))
    assert "a=setup:active\r\n" in negotiation.create_answer()


@pytest.mark.parametrize(
    ("pattern", "error"),
    [
        (r"a=ice-ufrag:.*\r\n", "ICE credentials"),
        (r"a=ice-pwd:.*\r\n", "ICE credentials"),
        (r"a=fingerprint:.*\r\n", "fingerprint"),
        (r"a=rtcp-mux\r\n", "rtcp-mux"),
    ],
)
def test_an_offer_without_its_transport_is_refused(pattern: str, error: str) -> None:
    negotiation = server()
    with pytest.raises((SdpError, NegotiationError), match=error):
        negotiation.handle_offer(re.sub(pattern, "", recorded("chromium_sendrecv")))
    assert negotiation.state == "stable"
    assert negotiation.transport is None


def test_a_weak_certificate_hash_alone_is_refused() -> None:
    weak = re.sub(r"a=fingerprint:.*", f"a=fingerprint:sha-1 {':'.join(['AB'] * 20)}", recorded("chromium_sendrecv"))
    with pytest.raises(NegotiationError, match="sha-1") as caught:
        server().handle_offer(weak)
    assert caught.value.warning_code == 306


def test_repeated_mids_are_refused_with_the_line() -> None:
    with pytest.raises(SdpError, match="not unique"):
        server().handle_offer(recorded("chromium_sendrecv").replace("a=mid:1", "a=mid:0"))


def test_nothing_in_common_names_what_each_side_has() -> None:
    with pytest.raises(NegotiationError, match=r"video offers H264/90000 .* allowed is VP8") as caught:
        server(MediaPolicy(audio=(), video=("VP8",))).handle_offer(recorded("safari_h264_only"))
    assert caught.value.warning_code == 305


# Further exchanges ---------------------------------------------------------------------------------------------------


def test_a_reoffer_narrows_to_the_preferred_codec_and_keeps_everything_else() -> None:
    negotiation = server()
    negotiation.handle_offer(recorded("chromium_sendrecv"))
    first = parse(negotiation.create_answer(directions={"1": Direction.INACTIVE}))
    before = negotiation.sections

    text = negotiation.create_offer(
        prefer={"audio": [KNOWN["PCMU"]], "video": [KNOWN["H264/0"]]}, directions={"1": Direction.SENDRECV}
    )
    offer = parse(text)
    assert [media.mid for media in offer.media] == ["0", "1", "2"]
    assert [media.formats for media in offer.media[:2]] == [("0", "126"), ("114", "104", "107", "115")]
    assert [media.direction for media in offer.media[:2]] == [Direction.SENDRECV, Direction.SENDRECV]
    assert (offer.media[0].ice_ufrag, offer.media[0].setup) == (first.media[0].ice_ufrag, "actpass")
    assert offer.media[2].port == 0
    assert offer.origin.session_id == first.origin.session_id
    assert int(offer.origin.version) == int(first.origin.version) + 1

    changes = negotiation.handle_answer(browser_answer(text))
    assert (changes.codecs, changes.directions) == (("0", "1"), ("1",))
    assert (changes.ice_restart, changes.added, changes.removed, changes.extensions) == (False, (), (), False)
    assert [section.local_ssrc for section in negotiation.sections] == [section.local_ssrc for section in before]
    assert [section.capable for section in negotiation.sections] == [section.capable for section in before]


def test_narrowing_can_be_undone_and_changed() -> None:
    negotiation = agreed()
    for wanted, formats in (("PCMU", ("0", "126")), ("opus", ("111", "63", "110"))):
        text = negotiation.create_offer(prefer={"0": [KNOWN[wanted]]})
        assert parse(text).media[0].formats == formats
        negotiation.handle_answer(browser_answer(text))
    capable = negotiation.sections[0].capable
    text = negotiation.create_offer(prefer={"audio": capable})
    assert parse(text).media[0].formats == tuple(str(codec.pt) for codec in capable)


def test_a_codec_that_the_browser_lacks_cannot_be_preferred() -> None:
    negotiation = agreed("firefox_sendrecv")
    before = negotiation.sections
    with pytest.raises(NegotiationError, match=r"video: H264.*it has VP8") as caught:
        negotiation.create_offer(prefer={"video": [KNOWN["H264"]]})
    assert caught.value.warning_code == 305
    assert (negotiation.state, negotiation.sections) == ("stable", before)


def test_an_answer_that_takes_less_is_less() -> None:
    negotiation = agreed()
    text = browser_answer(negotiation.create_offer())
    text = text.replace("a=sendrecv", "a=recvonly", 1)
    text = re.sub(r"m=audio 10000 (\S+) .*\r\n", r"m=audio 10000 \1 8\r\n", text)
    changes = negotiation.handle_answer(text)
    audio = negotiation.sections[0]
    assert (audio.direction, [codec.name for codec in audio.send]) == (Direction.SENDONLY, ["PCMA"])
    assert (changes.codecs, changes.directions) == (("0",), ("0",))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda text: text.replace("a=setup:active", "a=setup:actpass"), NegotiationError),
        (lambda text: text.replace("a=mid:0", "a=mid:9").replace("BUNDLE 0", "BUNDLE 9"), RemoteProtocolError),
        (lambda text: text.replace("m=video", "m=audio"), RemoteProtocolError),
        (lambda text: text[: text.index("m=application")], RemoteProtocolError),
        (lambda text: re.sub(r"m=audio \d+ (\S+) .*\r\n", r"m=audio 9 \1 77\r\n", text), NegotiationError),
        (lambda text: re.sub(r"m=(\w+) \d+ ", r"m=\1 0 ", text), NegotiationError),
        (lambda text: "hello", SdpError),
    ],
    ids=["actpass", "mid", "kind", "sections", "codec", "all refused", "garbage"],
)
def test_a_wrong_answer_leaves_our_offer_pending(change: Callable[[str], str], error: type[Exception]) -> None:
    negotiation = agreed()
    before = negotiation.sections
    text = browser_answer(negotiation.create_offer(directions={"1": Direction.SENDONLY}))
    with pytest.raises(error):
        negotiation.handle_answer(change(text))
    assert negotiation.state == "have-local-offer"
    negotiation.rollback()
    assert (negotiation.state, negotiation.sections) == ("stable", before)


def test_an_offer_that_crosses_ours_is_glare_and_ours_stands() -> None:
    negotiation = agreed()
    text = negotiation.create_offer()
    with pytest.raises(GlareError) as caught:
        negotiation.handle_offer(recorded("chromium_sendrecv"))
    assert caught.value.status == 409
    negotiation.handle_answer(browser_answer(text))
    assert negotiation.state == "stable"


def test_a_rolled_back_offer_of_the_browser_leaves_no_trace() -> None:
    negotiation = server()
    negotiation.handle_offer(recorded("chromium_sendrecv"))
    negotiation.rollback()
    assert (negotiation.sections, negotiation.transport, negotiation.state) == ((), None, "stable")


def test_calls_out_of_order_are_refused() -> None:
    negotiation = server()
    with pytest.raises(LocalProtocolError):
        negotiation.create_answer()
    with pytest.raises(RemoteProtocolError):
        negotiation.handle_answer(recorded("chromium_sendrecv"))
    with pytest.raises(LocalProtocolError):
        negotiation.create_offer()
    negotiation.handle_offer(recorded("chromium_sendrecv"))
    with pytest.raises(LocalProtocolError):
        negotiation.create_offer()
    with pytest.raises(RemoteProtocolError):
        negotiation.handle_offer(recorded("chromium_sendrecv"))
    with pytest.raises(LocalProtocolError, match="mid 7"):
        negotiation.create_answer(directions={"7": Direction.INACTIVE})


def restarted(text: str) -> str:
    return text.replace("a=ice-ufrag:RDVr", "a=ice-ufrag:NEW1").replace("5emGlbqVbutGnv0xSsQJlUtn", "n" * 24)


def test_an_ice_restart_is_seen_and_needs_new_credentials_of_ours() -> None:
    negotiation = agreed()
    changes = negotiation.handle_offer(restarted(recorded("chromium_sendrecv")))
    assert changes == Changes(ice_restart=True)
    with pytest.raises(LocalProtocolError, match="restarted ICE"):
        negotiation.create_answer()
    negotiation.local = ice("second-ufrag")
    assert "a=ice-ufrag:second-ufrag" in negotiation.create_answer()
    assert not negotiation.handle_offer(restarted(recorded("chromium_sendrecv"))).ice_restart


def test_a_restart_by_fragment_changes_the_credentials_only() -> None:
    negotiation = agreed()
    before = negotiation.sections
    negotiation.local = ice("second-ufrag")
    transport = negotiation.restart_ice("NEW1", "n" * 24)
    assert (transport.ufrag, transport.ice_restart, transport.dtls_role) == ("NEW1", True, "server")
    assert negotiation.sections == before
    assert not negotiation.handle_offer(restarted(recorded("chromium_sendrecv"))).ice_restart
    with pytest.raises(LocalProtocolError, match="before it began"):
        server().restart_ice("NEW1", "n" * 24)


def test_narrowing_and_directions_hold_when_the_browser_offers_again() -> None:
    negotiation = server()
    negotiation.handle_offer(recorded("chromium_sendrecv"))
    negotiation.create_answer(directions={"1": Direction.RECVONLY})
    negotiation.handle_answer(browser_answer(negotiation.create_offer(prefer={"audio": [KNOWN["PCMA"]]})))
    negotiation.handle_offer(recorded("chromium_sendrecv"))
    answer = parse(negotiation.create_answer())
    assert answer.media[0].formats == ("8", "126")
    assert answer.media[1].direction is Direction.RECVONLY


def test_another_certificate_is_another_association() -> None:
    other = re.sub(r"sha-256 52:81", "sha-256 00:00", recorded("chromium_sendrecv"))
    assert agreed().handle_offer(other).fingerprint


def test_a_stopped_section_keeps_its_place_and_may_be_taken_by_another() -> None:
    negotiation = agreed()
    old = negotiation.sections[1]
    stopped = recorded("chromium_sendrecv").replace("m=video 9", "m=video 0").replace("BUNDLE 0 1 2", "BUNDLE 0 2")
    assert negotiation.handle_offer(stopped).removed == ("1",)
    assert parse(negotiation.create_answer()).media[1].port == 0
    recycled = recorded("chromium_sendrecv").replace("a=mid:1", "a=mid:5").replace("BUNDLE 0 1 2", "BUNDLE 0 5 2")
    assert negotiation.handle_offer(recycled).added == ("5",)
    negotiation.create_answer()
    assert (negotiation.sections[1].mid, negotiation.sections[1].index) == ("5", 1)
    assert negotiation.sections[1].local_ssrc != old.local_ssrc


def test_sections_must_not_vanish() -> None:
    negotiation = agreed()
    text = recorded("chromium_sendrecv")
    with pytest.raises(RemoteProtocolError, match="1 media sections, 3 are known"):
        negotiation.handle_offer(text[: text.index("m=video")])


def test_a_section_that_we_add_reuses_the_browsers_numbers() -> None:
    negotiation = agreed(policy=MediaPolicy(sections={"audio": 1, "video": 2}, video=("AV1", "VP8")))
    offer = parse(negotiation.create_offer(add=["video"]))
    old, new = offer.media[1], offer.media[3]
    assert (new.mid, new.formats) == ("s0", old.formats)
    added = {(e.id, e.uri) for e in new.extensions} - {(e.id, e.uri) for e in old.extensions}
    # What the browser did not name itself is offered under a number that it has not used.
    assert {uri for _, uri in added} == {DEPENDENCY_URI}
    assert {(e.id, e.uri) for e in old.extensions} < {(e.id, e.uri) for e in new.extensions}
    assert offer.bundled == ("0", "1", "s0")


def test_a_kind_that_the_browser_never_named_gets_numbers_that_are_free() -> None:
    text = recorded("chromium_sendonly")
    audio_only = text[: text.index("m=video")].replace("BUNDLE 0 1", "BUNDLE 0").replace(" 126", " 126 96")
    negotiation = server()
    negotiation.handle_offer(audio_only + "a=rtpmap:96 ILBC/8000\r\na=extmap:10 urn:other\r\n")
    negotiation.create_answer()
    added = parse(negotiation.create_offer(add=["video"])).media[1]
    assert "96" not in added.formats
    assert {codec.name for codec in added.codecs} == {"H264", "VP8", "rtx"}
    repaired = [codec.fmtp["apt"] for codec in added.codecs if codec.key == "rtx"]
    assert repaired == [str(codec.pt) for codec in added.codecs if is_media(codec)]
    assert len({codec.pt for codec in added.codecs}) == len(added.codecs)
    assert 10 not in {extension.id for extension in added.extensions}


def test_a_first_offer_of_ours_is_complete() -> None:
    negotiation = server()
    text = negotiation.create_offer(add=["audio", "video"])
    offer = parse(text)
    assert [media.mid for media in offer.media] == ["s0", "s1"]
    assert {media.setup for media in offer.media} == {"actpass"}
    assert offer.extmap_allow_mixed
    changes = negotiation.handle_answer(browser_answer(text))
    assert (changes.first, changes.added) == (True, ("s0", "s1"))
    assert negotiation.transport is not None
    assert negotiation.transport.ufrag == "RDVr"


def test_an_agent_is_offered_only_what_the_phone_sends() -> None:
    only = {"audio": (KNOWN["PCMA"],), "video": (KNOWN["H264/0"],)}
    offer = parse(server(MediaPolicy(only=only)).create_offer(add=["audio", "video"]))
    assert [codec.name for codec in offer.media[0].codecs] == ["PCMA", "telephone-event"]
    assert [codec.fmtp["packetization-mode"] for codec in offer.media[1].codecs if is_media(codec)] == ["0"]


def test_ssrcs_never_repeat_even_if_the_source_of_numbers_does() -> None:
    values = iter([1, 2, 0, 1410332055, 5, 5, 5, 6, 6, 7, 8])
    negotiation = Negotiation(ice(), MediaPolicy(), cname="server", random_u32=lambda: next(values))
    negotiation.handle_offer(recorded("chromium_sendrecv"))
    own = [section.local_ssrc for section in negotiation.sections if not section.rejected]
    own.append(negotiation.sections[1].local_repair_ssrc)
    assert len(set(own)) == len(own)
    assert 0 not in own
    assert not {ssrc for section in negotiation.sections for ssrc in section.remote_ssrcs} & set(own)


@pytest.mark.parametrize("name", ["chromium_sendrecv", "firefox_sendrecv", "safari_sendrecv"])
def test_vp9_is_taken_behind_what_stands_before_it_and_with_eight_bits_first(name: str) -> None:
    negotiation = agreed(name, MediaPolicy(video=("VP8", "H264", "VP9")))
    video = next(section for section in negotiation.sections if section.kind == "video")
    media = [codec for codec in video.send if is_media(codec)]
    assert media[0].name == "VP8"
    profiles = [codec.fmtp.get("profile-id", "0") for codec in media if codec.name == "VP9"]
    assert profiles[0] == "0"
    assert len(set(profiles)) == len(profiles)


def test_vp9_comes_first_where_it_is_configured_so() -> None:
    negotiation = agreed("chromium_sendrecv", MediaPolicy(video=("VP9", "VP8")))
    video = next(section for section in negotiation.sections if section.kind == "video")
    first = next(codec for codec in video.send if is_media(codec))
    assert (first.name, first.fmtp["profile-id"]) == ("VP9", "0")


def test_a_viewer_takes_only_the_profile_that_is_published() -> None:
    published = replace(KNOWN["VP9"], fmtp={"profile-id": "2"})
    negotiation = agreed("chromium_recvonly", replace(WHEP, video=("VP8", "VP9"), only={"video": (published,)}))
    video = next(section for section in negotiation.sections if section.kind == "video")
    assert [codec.fmtp["profile-id"] for codec in video.send if is_media(codec)] == ["2"]


@pytest.mark.parametrize("name", ["chromium_sendrecv", "firefox_sendrecv"])
def test_av1_comes_first_where_it_is_configured_so_and_last_otherwise(name: str) -> None:
    for names, place in ((("AV1", "VP8"), 0), (("VP8", "H264", "VP9", "AV1"), -1)):
        negotiation = agreed(name, MediaPolicy(video=names))
        video = next(section for section in negotiation.sections if section.kind == "video")
        media = [codec for codec in video.send if is_media(codec)]
        assert (media[place].name, media[place].fmtp.get("profile", "0")) == ("AV1", "0")


def test_the_main_profile_of_av1_stands_before_the_others() -> None:
    negotiation = agreed("chromium_recvonly", replace(WHEP, video=("AV1",)))
    video = next(section for section in negotiation.sections if section.kind == "video")
    assert [codec.fmtp.get("profile", "0") for codec in video.send if is_media(codec)] == ["0", "1"]


@pytest.mark.parametrize("name", ["chromium_simulcast", "firefox_simulcast", "chromium_sendrecv"])
@pytest.mark.parametrize("first", ["AV1", "VP8"])
def test_dependency_descriptors_are_taken_of_who_sends_av1(name: str, first: str) -> None:
    offered = DEPENDENCY_URI in recorded(name)
    assert offered is ("simulcast" in name)
    policy = replace(WHIP, video=(first, *(codec for codec in ("VP8", "AV1") if codec != first)))
    video = next(section for section in agreed(name, policy).sections if section.kind == "video")
    sends = next(codec.name for codec in video.receive if is_media(codec))
    taken = DEPENDENCY_URI in {extension.uri for extension in video.extensions}
    assert taken is (offered and sends == "AV1")


def test_dependency_descriptors_are_offered_to_who_only_receives_or_sends_av1() -> None:
    def offers(policy: MediaPolicy) -> bool:
        own = parse(server(policy).create_offer(add=["video"])).media[0]
        return DEPENDENCY_URI in {extension.uri for extension in own.extensions}

    assert offers(WHEP)
    assert offers(MediaPolicy(video=("AV1", "VP8")))
    assert not offers(MediaPolicy(video=("VP8", "AV1")))
