"""A name server on loopback for a handful of names: answers from a table, counts questions, and can fall silent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from tests.peers.namespace import LOOPBACK, Network

TTL_S = 300


class DnsServer(asyncio.DatagramProtocol):
    """`table` maps ("pbx.test", "SRV") to record texts; other names do not exist (NXDOMAIN, with an SOA of 60 s)."""

    def __init__(self, table: dict[tuple[str, str], list[str]], *, ttl_s: int = TTL_S) -> None:
        self.table = table
        self.ttl_s = ttl_s
        self.silent = False
        self.asked: Counter[tuple[str, str]] = Counter()
        self.address = ("", 0)
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open."""
        self._transport = transport  # type: ignore[assignment]
        host, port = transport.get_extra_info("sockname")
        self.address = (host, port)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """One question."""
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text().rstrip(".").lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked[(name, kind)] += 1
        if self.silent or self._transport is None:
            return
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA | dns.flags.RA
        records = self.table.get((name, kind), [])
        if records:
            response.answer.append(
                dns.rrset.from_text_list(question.name, self.ttl_s, dns.rdataclass.IN, question.rdtype, records)
            )
        else:
            if not any(known == name for known, _ in self.table):
                response.set_rcode(dns.rcode.NXDOMAIN)
            soa = "ns.test. root.test. 1 3600 600 86400 60"
            response.authority.append(dns.rrset.from_text("test.", 60, dns.rdataclass.IN, dns.rdatatype.SOA, soa))
        self._transport.sendto(response.to_wire(), addr)


@contextlib.asynccontextmanager
async def dns_server(
    table: dict[tuple[str, str], list[str]], *, ttl_s: int = TTL_S, network: Network = LOOPBACK, port: int = 0
) -> AsyncIterator[DnsServer]:
    """Runs it on 127.0.0.1 of a network, on a free port where none is given."""
    sock = network.open_socket(kind=socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", port))
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: DnsServer(table, ttl_s=ttl_s), sock=sock
    )
    try:
        yield server
    finally:
        transport.close()
