"""A room system offers more than a call needs: what nobody here speaks is declined where it stands (RFC 3264 §6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.test_conference_by_phone import succeeded
from tests.peers.daemon import daemon
from tests.peers.sipp import callee, caller


@pytest.mark.smoke
async def test_bfcp_camera_control_ix_and_a_second_picture_are_declined_in_their_order(tmp_path: Path) -> None:
    # As our offer counts them where a trunk takes PCMU and H.264 alone: 96 is for telephone events.
    picture = {"video_port": "40002", "video_pt": "97", "video_fmtp": "profile-level-id=42e01f;packetization-mode=1"}
    async with callee(tmp_path, scenario="uas_video", keys=picture) as phone:
        pbx = {
            "peers": ["127.0.0.1/32"],
            "target": f"sip:127.0.0.1:{phone.port}",
            "srtp": "never",
            "keep_alive": {"interval": "0s"},
            "audio_codecs": ["PCMU"],
            "video_codecs": ["H264"],
        }
        changes = {"trunks": {"pbx": pbx}, "routes": [{"match": {"trunk": "pbx"}, "to": {"trunk": "pbx"}}]}
        async with (
            daemon(tmp_path, changes=changes) as server,
            caller(
                tmp_path, (server.host, server.ports.sip), scenario="uac_room_system", calls=1, hold_ms=300
            ) as system,
        ):
            succeeded(await system.finish(), await phone.stop())
