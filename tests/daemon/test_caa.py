"""CAA: whether nobody but the house can get a certificate for a page by owning its public address."""

from __future__ import annotations

import re

import pytest

from mediaserver.config.values import SocketAddress
from mediaserver.daemon.caa import Ask, DnsError, Property, asker, judge, parsed
from tests.peers.dns_server import dns_server

NAME = "video.bank.test"
GOOD = '128 issue "ca.test; accounturi=https://ca.test/acct/7; validationmethods=dns-01"'


def table(**records: list[str]) -> dict[tuple[str, str], list[str]]:
    names = {"video": NAME, "bank": "bank.test", "top": "test"}
    return {(names[place], "CAA"): found for place, found in records.items()}


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ({}, "has no CAA: any authority"),
        (
            {"video": ['0 issue "ca.test"']},
            "lets ca.test issue .* without accounturi: .* and validationmethods=dns-01: ",
        ),
        ({"video": ['0 issue "ca.test; validationmethods=dns-01"']}, "without accounturi"),
        ({"video": ['0 issue "ca.test; accounturi=https://ca.test/7"']}, "without validationmethods=dns-01"),
        (
            {"video": ['0 issue "ca.test; accounturi=https://ca.test/7; validationmethods=dns-01,http-01"']},
            "without validationmethods=dns-01",
        ),
        ({"video": [GOOD, '0 issue "other.test"']}, "lets other.test issue"),
        ({"video": [GOOD, '0 issuewild "other.test"']}, "lets other.test issue"),
        ({"video": ['0 iodef "mailto:a@bank.test"']}, "names no authority in `issue`"),
        # The closest name counts, and what is above it no more (RFC 8659 §3).
        ({"video": ['0 issue "ca.test"'], "bank": [GOOD]}, "lets ca.test issue"),
    ],
)
async def test_what_leaves_the_public_address_enough_is_said(records: dict[str, list[str]], said: str) -> None:
    async with dns_server(table(**records)) as server:
        verdict = await judge(NAME, asker([SocketAddress(*server.address)], timeout_s=2))
    assert not verdict.is_bound
    assert "accounturi=" in verdict.right
    assert re.search(said, verdict.said), verdict.said


@pytest.mark.parametrize(
    "records",
    [
        {"video": [GOOD]},
        {"bank": [GOOD]},
        {"video": [GOOD, '128 issuewild ";"']},
        {"video": ['0 issue ";"']},
        {"video": ['0 ISSUE "ca.test;AccountURI=https://ca.test/7;validationmethods=dns-01"']},
    ],
)
async def test_certificates_bound_to_an_account_and_to_dns_are_good(records: dict[str, list[str]]) -> None:
    async with dns_server(table(**records)) as server:
        assert (await judge(f"{NAME}.", asker([SocketAddress(*server.address)], timeout_s=2))).is_bound


async def test_a_name_server_that_says_nothing_is_told() -> None:
    async with dns_server({}) as server:
        server.silent = True
        with pytest.raises(DnsError, match=r"who may issue for video\.bank\.test"):
            await judge(NAME, asker([SocketAddress(*server.address)], timeout_s=0.1))


async def test_not_more_is_asked_than_the_names_above() -> None:
    asked: list[str] = []

    async def ask(name: str) -> list[Property]:
        asked.append(name)
        return []

    kept: Ask = ask
    await judge("a.b.test", kept)
    assert asked == ["a.b.test", "b.test", "test"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (";", ("", {})),
        ("", ("", {})),
        ("ca.test", ("ca.test", {})),
        (" ca.test ; a = b ;; c=d=e", ("ca.test", {"a": "b", "c": "d=e"})),
        ("ca.test; nonsense", ("ca.test", {"nonsense": ""})),
    ],
)
def test_values_are_read_as_they_are_written(value: str, expected: tuple[str, dict[str, str]]) -> None:
    assert parsed(value) == expected
