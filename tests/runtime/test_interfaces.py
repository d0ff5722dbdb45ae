"""Addresses of this machine."""

from __future__ import annotations

from ipaddress import ip_address

from mediaserver.runtime.interfaces import local_addresses


def test_loopback_is_among_them_and_link_local_is_not() -> None:
    found = local_addresses()
    assert ip_address("127.0.0.1") in found
    assert not any(address.is_link_local for address in found)
    assert len(set(found)) == len(found)
