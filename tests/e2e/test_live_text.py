"""Real-time text between phones that nobody here wrote: the library of linphone 5.1 (RFC 4103)."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.peers.daemon import AGENT_PASSWORD, daemon
from tests.peers.linphone import Typist, typist


def said(phone: Typist) -> str:
    """What the phone has read, character by character."""
    return "".join(chr(int(code, 16)) for code in re.findall(r"^read ([0-9a-f]+)$", phone.log, re.MULTILINE))


def secret(folder: Path) -> Path:
    """The password of every user here."""
    file = folder / "anna.secret"
    file.touch(mode=0o600)
    file.write_text(AGENT_PASSWORD)
    return file


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_two_phones_type_to_each_other(tmp_path: Path) -> None:
    async with (
        daemon(tmp_path, changes={"users": {"anna": {"secret": {"file": str(secret(tmp_path))}}}}) as server,
        typist("agent", server, tmp_path) as agent,
        typist("anna", server, tmp_path) as anna,
    ):
        anna.order(f"call sip:agent@{server.sip_server()}")
        for phone in (anna, agent):
            await phone.wait_for("talking")
        anna.order("type grüß dich")
        agent.order("type Hej☺")
        async with asyncio.timeout(60):
            while "grüß dich" not in said(agent) or "Hej☺" not in said(anna):
                await asyncio.sleep(0.1)
