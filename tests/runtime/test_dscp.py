"""Marks on sockets, as the kernel keeps them."""

from __future__ import annotations

import socket

import pytest

from mediaserver.runtime.dscp import mark

CS3 = 24


@pytest.mark.parametrize(
    ("family", "address", "level", "name"),
    [
        (socket.AF_INET, "127.0.0.1", socket.IPPROTO_IP, socket.IP_TOS),
        (socket.AF_INET6, "::1", socket.IPPROTO_IPV6, socket.IPV6_TCLASS),
    ],
    ids=["ipv4", "ipv6"],
)
def test_a_listening_socket_hands_its_mark_on(family: int, address: str, level: int, name: int) -> None:
    with socket.socket(family) as listening, socket.socket(family) as caller:
        mark(listening, CS3)
        listening.bind((address, 0))
        listening.listen()
        caller.connect(listening.getsockname()[:2])
        accepted, _ = listening.accept()
        with accepted:
            assert [sock.getsockopt(level, name) >> 2 for sock in (listening, accepted)] == [CS3, CS3]


def test_no_mark_leaves_a_socket_as_it_is() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 8)
        mark(sock, 0)
        mark(None, CS3)
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 8
