"""What relays: this project's daemon and its Edge, Debian's coturn, and the limit program, each kept on one CPU."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.edge_generator import LANES
from benchmarks.figures import ROOT
from benchmarks.native import Programs
from benchmarks.sfu_face import pin
from benchmarks.sfu_stage import quiet
from tests.peers.daemon import daemon
from tests.peers.namespace import LOOPBACK
from tests.peers.process import PeerError, PeerProcess

HOST: Final = "127.0.0.1"
REALM: Final = "bench"
USER: Final = "bench"
MOST_ALLOCATIONS: Final = 5_000
OWN_PORTS: Final = (34_000, 43_999)
COTURN_PORTS: Final = (44_000, 53_999)
"""Relayed ports."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running one, and how the generator finds it."""

    name: str
    pid: int
    arguments: tuple[str, ...]
    """What the generator is told, but for the form of the load."""
    is_turn: bool

    def load(self, form: str) -> tuple[str, ...]:
        """The generator's arguments."""
        kind, address, *rest = self.arguments
        return (kind, address, str(LANES), form, *rest) if self.is_turn else self.arguments


def missing() -> str:
    """Why coturn cannot be compared with here; empty where it can."""
    return "" if shutil.which("turnserver") else "no turnserver on the PATH (apt-get install coturn)"


def _turn(name: str, pid: int, port: int, password: str) -> Server:
    key = hashlib.md5(f"{USER}:{REALM}:{password}".encode(), usedforsecurity=False).hexdigest()  # RFC 8489 §9.2.2
    pin(pid)
    return Server(name, pid, ("turn", f"{HOST}:{port}", USER, key, REALM), is_turn=True)


@asynccontextmanager
async def own_turn(directory: Path, *, real_time: bool) -> AsyncIterator[Server]:
    """The whole daemon, as an open relay."""
    port, password = LOOPBACK.free_port(), secrets.token_hex(8)
    secret = directory / "turn.secret"
    secret.touch(mode=0o600)
    secret.write_text(password)
    changes = {
        "listeners": {
            "turn": {
                "port": port,
                "tcp": None,
                "relay": "open",
                "realm": REALM,
                "users": {USER: {"secret": {"file": str(secret)}}},
                "ports": f"{OWN_PORTS[0]}-{OWN_PORTS[1]}",
                "allowed_peers": ["127.0.0.0/8"],
            }
        },
        "limits": {
            "turn_allocations": MOST_ALLOCATIONS,
            "turn_allocations_per_session": MOST_ALLOCATIONS,
            "turn_answers_per_source": "100000/s",
        },
        "media": {"real_time": real_time},
        "log": {"level": "warning"},
    }
    async with daemon(directory, changes=changes) as server:
        made = _turn("mediaserver", server.pid, port, password)
        await quiet(made.pid)
        yield made


@asynccontextmanager
async def coturn(directory: Path) -> AsyncIterator[Server]:
    """coturn with one relay thread, as one of ours does."""
    port, password = LOOPBACK.free_port(2), secrets.token_hex(8)
    process = PeerProcess(
        "coturn",
        [
            *("turnserver", "-n", f"--listening-ip={HOST}", f"--relay-ip={HOST}", f"--listening-port={port}"),
            # Without a password for its telnet interface it takes no peers on the loopback.
            *("--no-tls", "--no-dtls", "--no-tcp", "--allow-loopback-peers", "--cli-password=x", "--no-cli"),
            *(f"--min-port={COTURN_PORTS[0]}", f"--max-port={COTURN_PORTS[1]}", "--relay-threads=1"),
            *("--lt-cred-mech", f"--realm={REALM}", f"--user={USER}:{password}", "--log-file=stdout", "--simple-log"),
            *(f"--pidfile={directory / 'coturn.pid'}", f"--userdb={directory / 'coturn.db'}"),
        ],
        directory=directory,
    )
    async with process:
        for _ in range(200):
            if LOOPBACK.is_taken(HOST, port):
                break
            if process.returncode is not None:
                raise PeerError(f"coturn ended:\n{process.log_tail()}")
            await asyncio.sleep(0.05)
        else:
            raise PeerError(f"coturn does not listen:\n{process.log_tail()}")
        yield _turn("coturn", process.pid, port, password)


@asynccontextmanager
async def own_edge(*, real_time: bool) -> AsyncIterator[Server]:
    """The engine of an Edge; the generator is its Core."""
    keys = (secrets.token_hex(32), secrets.token_hex(32))
    options = ("real-time",) if real_time else ()
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "benchmarks.edge_engine", *keys, *options),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        if process.stdout is None or process.stdin is None:
            raise PeerError("the Edge has no pipes")
        async with asyncio.timeout(20):
            line = await process.stdout.readline()
        if not line:
            raise PeerError("the Edge did not start")
        (public, public_port), (link, link_port) = (json.loads(line)[name] for name in ("public", "link"))
        pin(process.pid)
        addresses = (f"{public}:{public_port}", f"{link}:{link_port}")
        yield Server("mediaserver", process.pid, ("edge", *addresses, str(LANES), *keys), is_turn=False)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def floor(programs: Programs, directory: Path, kind: str) -> AsyncIterator[Server]:
    """The limit program at the same job: `turn` or `edge`."""
    if kind == "turn":
        listener, relayed, clients, peers = _rows(1, LANES, LANES, LANES)
        command, arguments = "serve-turn", (listener, relayed, clients, peers, LANES)
        told = ("turn-floor", f"{HOST}:{listener}", *map(str, arguments[1:]))
    else:
        public, link, core, visitors = _rows(1, 1, 1, LANES)
        command, arguments = "serve-path", (public, link, core, visitors, LANES)
        told = ("edge-floor", f"{HOST}:{public}", f"{HOST}:{link}", *map(str, arguments[2:]))
    process = PeerProcess(f"limit-{kind}", [str(programs.limit), command, *map(str, arguments)], directory=directory)
    async with process:
        await process.wait_for_log("ready")
        yield Server("limit", process.pid, told, is_turn=False)


def _rows(*counts: int) -> list[int]:
    return [LOOPBACK.free_port(count) for count in counts]
