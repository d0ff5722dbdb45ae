"""Transfers that a phone asks for: SIPp as the phone that asks, as the one that is called, and as the caller."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.peers.daemon import daemon
from tests.peers.sipp import Sipp, SippResult, callee, caller

pytestmark = pytest.mark.smoke


def trunks(first: int, second: int) -> dict[str, Any]:
    """Numbers that begin with 7 go to the second one, all others to the first; neither allows premium numbers."""
    common = {"srtp": "never", "keep_alive": {"interval": "0s"}}
    return {
        "trunks": {
            "agents": common | {"peers": ["127.0.0.1/32"], "target": f"sip:127.0.0.1:{first}"},
            "experts": common | {"target": f"sip:127.0.0.1:{second}", "numbers": {"region": "DE"}},
        },
        "routes": [
            {"match": {"called": "7*", "trunk": "agents"}, "to": {"trunk": "experts"}},
            {"match": {"called": "+49900*", "trunk": "agents"}, "to": {"trunk": "experts"}},
            {"match": {"trunk": "agents"}, "to": {"trunk": "agents"}},
        ],
    }


@dataclass(frozen=True, slots=True)
class Stage:
    """A visitor calls an agent, who has somebody else take the call: an expert."""

    visitor: Sipp
    agent: Sipp
    expert: Sipp

    async def end(self) -> tuple[SippResult, SippResult, SippResult]:
        """What visitor, agent and expert saw, when the visitor's call is over."""
        return await self.visitor.finish(), await self.agent.stop(), await self.expert.stop()


@contextlib.asynccontextmanager
async def stage(
    directory: Path, *, agent: str, refer_to: str, expert: str = "uas", visitor: str = "uac", hold_ms: int = 500
) -> AsyncIterator[Stage]:
    """Three SIPps by the names of their scenarios, with the daemon between them."""
    async with (
        callee(directory, scenario=agent, keys={"refer_to": refer_to}) as asks,
        callee(directory, scenario=expert) as takes,
        daemon(directory, changes=trunks(asks.port, takes.port)) as server,
        caller(directory, (server.host, server.ports.sip), scenario=visitor, calls=1, hold_ms=hold_ms) as calls,
    ):
        yield Stage(calls, asks, takes)


def succeeded(*results: SippResult) -> None:
    for result in results:
        assert (result.successful, result.failed) == (1, 0), result.errors


async def test_a_phone_transfers_its_caller_who_hears_nothing_of_it(tmp_path: Path) -> None:
    async with stage(tmp_path, agent="uas_refers", refer_to="7001", expert="uas_referred", hold_ms=5000) as people:
        succeeded(*await people.end())


async def test_a_call_manager_names_its_own_second_call_and_whoever_is_in_it_is_told(tmp_path: Path) -> None:
    """The consultation ran past us: the Replaces goes on to the expert (RFC 3891)."""
    async with stage(
        tmp_path, agent="uas_refers_attended", refer_to="7001", expert="uas_replaces", hold_ms=5000
    ) as people:
        succeeded(*await people.end())


async def test_a_transfer_to_a_premium_number_is_refused_and_the_call_ends_with_the_phone(tmp_path: Path) -> None:
    async with stage(
        tmp_path, agent="uas_refers_in_vain", refer_to="+499001234567", visitor="uac_waits_for_bye"
    ) as people:
        called, asked, answered = await people.end()
    succeeded(called, asked)
    assert answered.created == 0


async def test_a_call_is_followed_to_where_a_trunk_says_its_agent_has_moved(tmp_path: Path) -> None:
    async with stage(tmp_path, agent="uas_moved", refer_to="7001") as people:
        succeeded(*await people.end())
