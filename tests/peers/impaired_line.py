"""A bad line in front of a server: UDP with rate, delay, jitter, loss and queue, by the relay program of `rust/impair`.

Each line is a port of its own that leads to one target, so that two peers can have different lines at the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.peers.namespace import LOOPBACK, Network
from tests.peers.process import PeerError

MANIFEST = Path(__file__).resolve().parents[2] / "rust" / "Cargo.toml"
PACKAGE = "mediaserver-impair"

REDIRECT = """
(() => {
  const ports = %s;
  const lead = text => text && text.replace(
    /^((?:a=)?candidate:\\S+ \\d+ udp \\d+ \\S+) (\\d+)/gim, (_, head, port) => `${head} ${ports[port] || port}`);
  const kind = RTCPeerConnection.prototype, set = kind.setRemoteDescription, add = kind.addIceCandidate;
  kind.setRemoteDescription = function(description, ...rest) {
    return set.call(this, {type: description.type, sdp: lead(description.sdp)}, ...rest);
  };
  kind.addIceCandidate = function(candidate, ...rest) {
    const plain = candidate && JSON.parse(JSON.stringify(candidate));
    return add.call(this, plain && {...plain, candidate: lead(plain.candidate)}, ...rest);
  };
})();
"""


@dataclass(frozen=True, slots=True)
class Impairment:
    """One direction of a line. The default does nothing."""

    rate_bps: float | None = None
    """Bits per second, IPv4 and UDP headers included; None is without limit."""
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """Most that is added to the delay, evenly spread; packets keep their order."""
    loss: float = 0.0
    """0.0 to 1.0, at random, behind the queue."""
    queue_ms: float = 300.0
    """Longest wait in the queue; what would wait longer is dropped."""

    def settings(self) -> str:
        """As the program reads them."""
        rate = [] if self.rate_bps is None else [f"rate_bps={self.rate_bps}"]
        named = ("delay_ms", "jitter_ms", "loss", "queue_ms")
        return " ".join(rate + [f"{name}={getattr(self, name)}" for name in named])


CLEAR = Impairment()


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the packets of one direction."""

    delivered: int
    bytes: int
    """UDP payload of the delivered ones."""
    lost: int
    overflowed: int
    inside: int


class ImpairedLine:
    """One line: peers send to ``address``, and the target sees them come from the relay."""

    def __init__(self, relay: Relay, name: str, address: tuple[str, int], target: tuple[str, int]) -> None:
        self._relay = relay
        self._name = name
        self.address = address
        self.target = target

    @property
    def port(self) -> int:
        return self.address[1]

    async def set(self, *, up: Impairment | None = None, down: Impairment | None = None) -> None:
        """Shape the direction towards the target (``up``), the one from it, or both, from now on; None leaves it."""
        for which, shape in (("up", up), ("down", down)):
            if shape is not None:
                await self._relay.ask(f"set {self._name} {which} {shape.settings()}")

    async def counts(self) -> tuple[Counts, Counts]:
        """Up and down."""
        read = json.loads(await self._relay.ask(f"counts {self._name}"))
        return Counts(**read["up"]), Counts(**read["down"])

    def redirect(self) -> str:
        """A script for a page, to run before its own: it then takes this line wherever the target's port is named."""
        return REDIRECT % json.dumps({str(self.target[1]): str(self.port)})


class Relay:
    """The running program."""

    def __init__(self, process: asyncio.subprocess.Process, network: Network) -> None:
        self._process = process
        self._network = network
        self._count = 0
        self._turn = asyncio.Lock()

    async def line(
        self, target: tuple[str, int], *, up: Impairment = CLEAR, down: Impairment = CLEAR, bind: str | None = None
    ) -> ImpairedLine:
        """A new line to ``target``; ``bind`` is where peers send to, by default the network's own address."""
        self._count += 1
        name = f"line{self._count}"
        address = await self.ask(f"line {name} {bind or self._network.address}:0 {target[0]}:{target[1]}")
        host, _, port = address.rpartition(":")
        opened = ImpairedLine(self, name, (host, int(port)), target)
        await opened.set(up=up, down=down)
        return opened

    async def ask(self, command: str) -> str:
        """One command; raises PeerError when the program refuses it or is gone."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise PeerError("the relay has no input or output")
        async with self._turn, asyncio.timeout(30):
            stdin.write(f"{command}\n".encode())
            await stdin.drain()
            answer = (await stdout.readline()).decode().strip()
        verdict, _, rest = answer.partition(" ")
        if verdict != "ok":
            raise PeerError(f"the relay answered {answer!r} to {command!r}")
        return rest


@cache
def program() -> Path:
    """The relay's path, built where it is missing or old; it needs nothing but libc, so that takes seconds."""
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "build", "--release", "--quiet", "--locked", "--manifest-path", str(MANIFEST)]
    command += ["--package", PACKAGE, "--message-format", "json"]
    built = subprocess.run(command, check=False, capture_output=True, text=True, timeout=500)
    if built.returncode != 0:
        raise PeerError(f"{PACKAGE} cannot be built:\n{built.stderr[-3000:]}")
    for line in built.stdout.splitlines():
        executable = json.loads(line).get("executable")
        if executable and Path(executable).name == PACKAGE:
            return Path(executable)
    raise PeerError(f"cargo made no {PACKAGE}")


@contextlib.asynccontextmanager
async def impaired_lines(network: Network = LOOPBACK) -> AsyncIterator[Relay]:
    """Run the relay inside ``network``."""
    path = await asyncio.to_thread(program)
    command = ["setpriv", "--pdeathsig", "KILL", *network.exec_prefix, str(path)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Relay(process, network)
        if process.returncode is not None:
            raise PeerError(f"the relay ended with {process.returncode}")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
