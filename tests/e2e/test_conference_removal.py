"""Who leaves a conference (RFC 4579 §5.11), with SIPp: by his own BYE, or let go by the focus when another one asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import metric_becomes
from tests.e2e.members import until
from tests.e2e.test_conference_by_phone import calls, succeeded
from tests.e2e.test_join import OLD_PROGRAM, WORLD
from tests.peers.daemon import ADMIN_TOKEN, AGENT_PASSWORD, daemon
from tests.peers.sipp import Sipp, callee, caller

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def house(folder: Path, stays: Sipp, leaves: Sipp) -> dict[str, Any]:
    """Users make conferences and call experts: those of 7 stay, those of 6 hang up by themselves."""
    secret = folder / "mallory.secret"
    secret.touch(mode=0o600)
    secret.write_text(AGENT_PASSWORD)
    common = {"srtp": "never", "keep_alive": {"interval": "0s"}}
    return {
        "users": {"mallory": {"secret": {"file": str(secret)}}},
        "trunks": {
            "stay": common | {"target": f"sip:127.0.0.1:{stays.port}"},
            "leave": common | {"target": f"sip:127.0.0.1:{leaves.port}"},
        },
        "routes": [
            {"match": {"called": "conference"}, "to": {"conference": "new"}},
            {"match": {"called": "7*"}, "to": {"trunk": "stay"}},
            {"match": {"called": "6*"}, "to": {"trunk": "leave"}},
        ],
    }


async def test_a_focus_lets_go_whom_a_participant_names_inside_of_his_call_and_outside(tmp_path: Path) -> None:
    async with (
        callee(tmp_path) as stays,
        callee(tmp_path, scenario="uas_invited", pause_ms=300) as leaves,
        daemon(tmp_path, changes=house(tmp_path, stays, leaves)) as server,
        caller(
            tmp_path,
            (server.host, server.ports.sip),
            user="conference",
            scenario="uac_focus_removes",
            keys={"user": "agent", "refer_to": f"7001@{server.host}"} | OLD_PROGRAM,
            credentials=("agent", AGENT_PASSWORD),
            to_user=True,
            network=WORLD,
        ) as maker,
    ):
        focus = await maker.wait_logged()

        async def are(*there: str, gone: tuple[str, ...]) -> bool:
            """Who is in the conference, and who was."""
            legs = [leg for call in await calls(server) for leg in call["legs"] if leg["kind"] == "sip"]
            up, ended = ({leg["name"] for leg in legs if leg["state"] == state} for state in ("up", "ended"))
            return (up, ended) == (set(there), set(gone))

        async def refers(user: str, *whom: str) -> list[str]:
            async with caller(
                tmp_path,
                (server.host, server.ports.sip),
                user=focus,
                scenario="uac_removes",
                calls=len(whom),
                concurrent=1,
                fields=whom,
                keys={"user": user} | OLD_PROGRAM,
                credentials=(user, AGENT_PASSWORD),
                to_user=True,
                network=WORLD,
            ) as program:
                result = await program.finish(30)
                assert (result.successful, result.failed) == (len(whom), 0), result.errors[:2000]
                return program.logged

        assert await maker.wait_logged(2) == "404"
        await until(lambda: are("agent", gone=("7001",)), lambda: calls(server), 10)  # was invited, and let go
        (conference,) = await calls(server)
        for number in ("7002", "6001", "7003"):
            status, _ = await server.request(
                "POST",
                f"{server.admin_url}/v1/calls/{conference['id']}/add",
                body=json.dumps({"to": number}),
                token=ADMIN_TOKEN,
            )
            assert status == 202
        # Who was called by the focus, as it says, hangs up by himself.
        gone = ("7001", "6001")
        await until(lambda: are("agent", "7002", "7003", gone=gone), lambda: calls(server), 20)
        assert await refers("mallory", "7002") == ["403"]
        assert await refers("agent", "7004", "7002") == ["404", "202"]
        await until(lambda: are("agent", "7003", gone=(*gone, "7002")), lambda: calls(server), 10)
        assert await refers("agent", "7003", "agent") == ["202", "202"]
        succeeded(await maker.finish(30), await leaves.stop())
        experts = await stays.stop()
        assert (experts.successful, experts.failed) == (3, 0), experts.errors[:2000]
        await metric_becomes(server, "mediaserver_contacts_open", 0, within_s=30)
