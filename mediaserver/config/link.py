"""The section about the link between Edge and Core: who is at its ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from mediaserver.config.bandwidth import Rates
from mediaserver.config.base import FilePath, Name, Section
from mediaserver.config.listeners import Certificate, HostName
from mediaserver.config.values import BaseUrl, Bind, Bitrate, SocketAddress


class LinkedEdge(Section):
    """An Edge that a Core dials."""

    address: Bind
    """Its `link.listen`, as seen from the Core: TCP for the link itself, UDP for media on the same port and those behind
    it."""

    name: HostName
    """Its `link.name`, which its certificate must have."""

    origin: BaseUrl | None = None
    """Where pages reach this Edge alone, like `https://edge1.example.org`: a name of its own, which leads to it and to no
    other, is in `listeners.shared_tls.names` there and in the certificate of `listeners.https` here. A page that loses its
    connection tries those of all Edges at once. null for an Edge without one."""

    tls: Literal["pass", "terminate"] = "pass"
    """Its `edge.tls`. With terminate that Edge, and the proxy before it, are trusted with all that visitors and this Core
    say to each other; an Edge that ends their TLS unasked is not used."""

    certificate_file: FilePath
    """Its certificate (PEM, as `mediaserver link-certificate` prints it there); no other is accepted. Where an authority
    signed it, that one's certificate follows in the same file."""


class LinkedCore(Section):
    """A Core that an Edge admits."""

    id: Annotated[int, Field(ge=0, le=65_535)] = 0
    """Its `link.core_id`: no two Cores of an Edge have the same."""

    name: HostName
    """Its `link.name`, which its certificate must have."""

    certificate_file: FilePath
    """Its certificate, as above."""

    weight: Annotated[int, Field(ge=0, le=1000)] = 1
    """Its share of visitors beside the weights of other Cores; 0 takes those alone who find no other one. Who comes from one
    network comes to one Core, as long as that is there."""

    server_names: tuple[HostName, ...] = ()
    """Names that lead to this Core alone, all of them in `listeners.shared_tls.names`: with its own `origin` for each Edge a
    page finds back to the Core of its call from any network."""


class Link(Section):
    """Between the Edge in the DMZ and the Core inside; always dialled by the Core. `role: all` needs none."""

    name: HostName = "mediaserver.internal"
    """What this machine is called on the link; it stands in the certificate that is made on first start."""

    certificate: Certificate = Certificate()
    """Certificate shown on the link; both null takes a self-signed one made on first start (`mediaserver
    link-certificate` prints it for the other end)."""

    listen: Bind = SocketAddress("127.0.0.1", 7443)
    """Of an Edge: the inner address that Cores dial, TCP; its threads take media from Cores on UDP ports from the same
    number on. Never a public address."""

    cores: Mapping[Name, LinkedCore] = {}
    """Of an Edge: the Cores that it admits, by name."""

    core_id: Annotated[int, Field(ge=0, le=65_535)] = 0
    """Of a Core: its number among those that share an Edge."""

    edges: Mapping[Name, LinkedEdge] = {}
    """Of a Core: the Edges that it dials, by name."""

    workers: Annotated[int, Field(ge=1, le=16)] = 1
    """Of an Edge: threads that carry media; each takes one more UDP port behind that of `listen`."""

    visitor_bitrate: Bitrate = 20_000_000
    """Of a Core: most that one visitor may send through an Edge; more is dropped there, and more than admission control
    grants to the call, too."""

    budget: Rates = Rates()
    """Of a Core: what all who come by its Edges share on the line to them, each way; headers of its frames count."""

    per_call: Rates = Rates()
    """Of a Core: most that one leg has of that line."""
