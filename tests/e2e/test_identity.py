"""Who is calling, with SIPp as the call manager that says so and as trunks that are and are not trusted with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import contact_ended, records
from tests.peers.daemon import daemon
from tests.peers.sipp import callee, caller

pytestmark = pytest.mark.smoke

CALLER = {"identity": "030555", "privacy": "id"}


def house(trusted: int, untrusted: int) -> dict[str, Any]:
    """A call manager that is believed; numbers that begin with 7 go to a carrier that is not trusted."""
    common = {"srtp": "never", "keep_alive": {"interval": "0s"}}
    numbers = {"region": "DE", "incoming": "e164"}
    return {
        "trunks": {
            "pbx": common
            | {
                "peers": ["127.0.0.1/32"],
                "target": f"sip:127.0.0.1:{trusted}",
                "numbers": numbers,
                "identity": {"incoming": "trusted", "outgoing": "asserted", "user_to_user": "ticket"},
            },
            "carrier": common | {"target": f"sip:127.0.0.1:{untrusted}"},
        },
        "routes": [
            {"match": {"called": "7*", "trunk": "pbx"}, "to": {"trunk": "carrier"}},
            {"match": {"caller": "+4930555", "trunk": "pbx"}, "to": {"trunk": "pbx"}},
        ],
    }


@pytest.mark.parametrize(("number", "ends_at"), [("100", "trusted"), ("700", "untrusted")])
async def test_an_anonymous_caller_is_named_to_the_trusted_only(tmp_path: Path, number: str, ends_at: str) -> None:
    async with (
        callee(tmp_path, scenario="uas_trusted") as trusted,
        callee(tmp_path, scenario="uas_untrusted") as untrusted,
        daemon(tmp_path, changes=house(trusted.port, untrusted.port)) as server,
        caller(
            tmp_path, (server.host, server.ports.sip), user=number, scenario="uac_asserted", hold_ms=200, keys=CALLER
        ) as pbx,
    ):
        called = await pbx.finish()
        answered = await (trusted if ends_at == "trusted" else untrusted).stop()
        await contact_ended(server, by="caller", reason="hangup")
        (record,) = await records(server)
    assert (called.successful, called.failed) == (1, 0), called.errors
    assert (answered.successful, answered.failed) == (1, 0), answered.errors
    assert record["caller"] == "anonymous"
    assert record["attributes"]["ticket"] == "T17"
    assert record["attributes"]["diverted_because"] == "user-busy"
    first, second = (leg["session_id"] for leg in record["legs"])
    ends = {"00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"}
    for session in (first, second):
        assert set(session.split(";remote=")) == ends
