"""Whose address a request counts for, directly and through reverse proxies."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from mediaserver.api.source import SourceResolver
from tests.api.fakes import Stack

PROXY = "10.0.0.1"


@pytest.mark.parametrize(
    ("trusted", "forwarded", "source"),
    [
        ([], "203.0.113.9", PROXY),
        (["192.168.0.0/16"], "203.0.113.9", PROXY),
        (["10.0.0.0/8"], "203.0.113.9", "203.0.113.9"),
        (["10.0.0.0/8"], "1.2.3.4, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (["10.0.0.0/8"], "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        (["10.0.0.0/8"], "203.0.113.9:51234", "203.0.113.9"),
        (["10.0.0.0/8"], "[2001:db8::9]:51234", "2001:db8::9"),
        (["10.0.0.0/8"], "2001:db8::9", "2001:db8::9"),
        (["10.0.0.0/8"], "::ffff:203.0.113.9", "203.0.113.9"),
        (["10.0.0.0/8"], "1.2.3.4, not an address", PROXY),
        (["10.0.0.0/8"], "203.0.113.9, unknown, 10.0.0.2", "10.0.0.2"),
        (["10.0.0.0/8"], "", PROXY),
        (["10.0.0.0/8"], ",,,", PROXY),
    ],
)
def test_only_our_own_proxies_say_who_is_behind_them(trusted: list[str], forwarded: str, source: str) -> None:
    resolver = SourceResolver(http=[ip_network(cidr) for cidr in trusted])
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": forwarded}).clone(remote=PROXY)
    assert resolver(request) == source


def test_several_header_lines_are_one_list() -> None:
    headers = [("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-For", "203.0.113.9")]
    request = make_mocked_request("GET", "/")
    request = request.clone(remote=PROXY, headers=headers)
    assert SourceResolver(http=[ip_network("10.0.0.0/8")])(request) == "203.0.113.9"


def test_the_proxies_of_one_listener_say_nothing_on_the_other() -> None:
    resolver = SourceResolver(https=[ip_network("10.0.0.0/8")])
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": "203.0.113.9"}).clone(remote=PROXY)
    assert resolver(request) == PROXY
    assert resolver(request.clone(scheme="https", remote=PROXY)) == "203.0.113.9"


def test_a_proxy_on_a_dual_stack_socket_is_known_by_its_ipv4_address() -> None:
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": "203.0.113.9"})
    assert SourceResolver(http=[ip_network("10.0.0.0/8")])(request.clone(remote=f"::ffff:{PROXY}")) == "203.0.113.9"


def test_an_endless_chain_is_looked_at_for_a_bounded_part_only() -> None:
    chain = ", ".join(["203.0.113.9"] + ["10.0.0.2"] * 1000)
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": chain}).clone(remote=PROXY)
    assert SourceResolver(http=[ip_network("10.0.0.0/8")])(request) == "10.0.0.2"


async def test_visitors_behind_a_trusted_proxy_have_limits_of_their_own(stacks: Callable[..., Any]) -> None:
    stack: Stack = await stacks(
        trusted_proxies=["127.0.0.0/8"], requests_per_second_per_source=0.1, request_burst_per_source=1
    )
    statuses = []
    for visitor in ("203.0.113.1", "203.0.113.1", "203.0.113.2"):
        async with stack.http.get("/healthz", headers={"X-Forwarded-For": visitor}) as response:
            statuses.append(response.status)
    assert statuses == [200, 429, 200]


async def test_a_contact_counts_for_the_visitor_behind_the_proxy(stacks: Callable[..., Any]) -> None:
    stack: Stack = await stacks(trusted_proxies=["127.0.0.0/8"])
    stack.http.headers["X-Forwarded-For"] = "203.0.113.7"
    await stack.call()
    assert stack.contacts.started[0]["source"] == "203.0.113.7"
