"""Addresses of this machine."""

from __future__ import annotations

from ipaddress import ip_address

from mediaserver.runtime.interfaces import address_towards, local_addresses


def test_loopback_is_among_them_and_link_local_is_not() -> None:
    found = local_addresses()
    assert ip_address("127.0.0.1") in found
    assert not any(address.is_link_local for address in found)
    assert len(set(found)) == len(found)


def test_loopback_leads_to_loopback() -> None:
    assert address_towards("127.0.0.1") == "127.0.0.1"
    assert address_towards("::1") == "::1"


def test_what_no_route_leads_to_has_no_address() -> None:
    # The system sends no broadcast for a socket that did not ask for it.
    assert address_towards("255.255.255.255") is None
