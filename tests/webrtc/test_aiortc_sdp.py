"""aiortc takes our answers and offers, and we take its answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from mediaserver.sdp.codecs import KNOWN
from mediaserver.sdp.description import Direction, Fingerprint
from mediaserver.webrtc.negotiation import LocalIceParams, MediaPolicy, Negotiation


@pytest.fixture
async def connection() -> AsyncIterator[RTCPeerConnection]:
    connection = RTCPeerConnection()
    yield connection
    await connection.close()


def server(policy: MediaPolicy | None = None) -> Negotiation:
    local = LocalIceParams("ours", "p" * 24, (("127.0.0.1", 9),), Fingerprint("sha-256", bytes(range(32))))
    return Negotiation(local, policy or MediaPolicy(), cname="server")


async def test_aiortc_takes_our_answer_and_a_narrowed_offer(connection: RTCPeerConnection) -> None:
    connection.addTrack(AudioStreamTrack())
    connection.addTrack(VideoStreamTrack())
    negotiation = server()
    await connection.setLocalDescription(await connection.createOffer())
    negotiation.handle_offer(connection.localDescription.sdp)
    answer = negotiation.create_answer(directions={"1": Direction.INACTIVE})
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    assert [transceiver.currentDirection for transceiver in connection.getTransceivers()] == ["sendrecv", "inactive"]

    offer = negotiation.create_offer(prefer={"audio": [KNOWN["PCMU"]]}, directions={"1": Direction.SENDRECV})
    await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await connection.setLocalDescription(await connection.createAnswer())
    changes = negotiation.handle_answer(connection.localDescription.sdp)
    assert (changes.codecs, changes.directions) == (("0",), ("1",))
    assert [codec.name for codec in negotiation.sections[0].send] == ["PCMU"]


async def test_an_aiortc_viewer_is_sent_to(connection: RTCPeerConnection) -> None:
    connection.addTransceiver("audio", direction="recvonly")
    connection.addTransceiver("video", direction="recvonly")
    only = {"audio": (KNOWN["opus"],), "video": (KNOWN["VP8"],)}
    policy = MediaPolicy(directions={"audio": Direction.SENDONLY, "video": Direction.SENDONLY}, only=only)
    negotiation = server(policy)
    await connection.setLocalDescription(await connection.createOffer())
    negotiation.handle_offer(connection.localDescription.sdp)
    await connection.setRemoteDescription(RTCSessionDescription(negotiation.create_answer(), "answer"))
    assert [section.send[0].name for section in negotiation.sections] == ["opus", "VP8"]
    assert [transceiver.currentDirection for transceiver in connection.getTransceivers()] == ["recvonly", "recvonly"]
