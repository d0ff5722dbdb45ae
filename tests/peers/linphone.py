"""linphonec 5.1 as a SIP phone with several calls: told what to do by lines of text, read by its log.

What this version taught:

* it reads commands from its standard input for as long as that is open: here a FIFO, which this process holds open;
* calls have numbers, from 1 on; before the second the first must be put on hold (``pause 1``);
* ``transfer 1 --to-call 2`` is an attended transfer (REFER with Replaces).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.peers.daemon import AGENT_PASSWORD, Daemon
from tests.peers.namespace import LOOPBACK, Network
from tests.peers.process import PeerProcess
from tests.peers.tone import write_tone

_CONFIG = """\
[sip]
sip_port={port}
sip_tcp_port=-1
sip_tls_port=-1
default_proxy=0
media_encryption=none
use_ipv6=0

[rtp]
audio_rtp_port={media}
audio_jitt_comp=60

[sound]
playback_dev_id=
ringer_dev_id=
capture_dev_id=

[video]
enabled=0
capture=0
display=0

[proxy_0]
reg_proxy=<sip:{server}>
reg_identity=sip:{user}@{domain}
reg_expires=600
reg_sendregister=1
publish=0

[auth_info_0]
username={user}
passwd={password}
"""


class Linphone:
    """A running phone that answers every call by itself."""

    def __init__(
        self,
        user: str,
        server: str,
        password: str,
        directory: Path,
        network: Network = LOOPBACK,
        *,
        info_keys: bool = False,
    ) -> None:
        self.user = user
        folder = directory / f"linphone-{user}"
        (folder / ".local/share/linphone").mkdir(parents=True)
        host, _, _ = server.partition(":")
        config = folder / "linphonerc"
        keys = "use_info=1\nuse_rfc2833=0\n" if info_keys else ""
        config.write_text(
            _CONFIG.replace("use_ipv6=0\n", f"use_ipv6=0\n{keys}").format(
                port=network.free_port(),
                media=network.free_port(4),
                user=user,
                domain=host,
                server=server,
                password=password,
            )
        )
        self._tone = write_tone(folder / "tone.wav", rate=8000, channels=1, seconds=60, hz=440)
        self._orders = folder / "orders"
        os.mkfifo(self._orders)
        # Held open for reading and writing: the phone sees no end of its input between two orders.
        self._pipe = os.open(self._orders, os.O_RDWR)
        self._process = PeerProcess(
            f"linphone-{user}",
            ["sh", "-c", 'exec linphonec -a -c "$0" -d 5 <"$1"', str(config), str(self._orders)],
            directory=folder,
            environment={"HOME": str(folder), "TERM": "dumb"},
            prefix=network.exec_prefix,
        )

    @property
    def log(self) -> str:
        return self._process.log()

    async def start(self) -> None:
        await self._process.start()
        self.order("soundcard use files")
        self.order(f"play {self._tone}")

    def order(self, text: str) -> None:
        """What somebody types."""
        os.write(self._pipe, f"{text}\n".encode())

    async def wait_for(self, pattern: str, timeout_s: float = 40.0) -> None:
        """Wait until the phone has printed it."""
        await self._process.wait_for_log(pattern, timeout_s)

    async def stop(self) -> None:
        await self._process.stop()
        os.close(self._pipe)


@contextlib.asynccontextmanager
async def linphone(
    user: str, server: str, password: str, directory: Path, *, info_keys: bool = False
) -> AsyncIterator[Linphone]:
    """Registers at ``server`` (host:port) and waits until it is; with `info_keys` its keys go by INFO."""
    running = Linphone(user, server, password, directory, info_keys=info_keys)
    await running.start()
    try:
        await running.wait_for("(?i)registration.*(successful|ok)")
        yield running
    finally:
        await running.stop()


class Typist:
    """Linphone's library as a phone with real-time text (`linphone_typist`), which its console client has no word for."""

    def __init__(self, user: str, server: Daemon, directory: Path) -> None:
        folder = directory / f"typist-{user}"
        (folder / ".local/share/linphone").mkdir(parents=True)
        host, _, _ = server.sip_server().partition(":")
        config = folder / "linphonerc"
        # Without a port of its own for text it takes one that is always the same.
        text_port = f"[rtp]\ntext_rtp_port={LOOPBACK.free_port(4)}"
        config.write_text(
            _CONFIG.replace("[rtp]", text_port).format(
                port=LOOPBACK.free_port(),
                media=LOOPBACK.free_port(4),
                user=user,
                domain=host,
                server=server.sip_server(),
                password=AGENT_PASSWORD,
            )
        )
        tone = write_tone(folder / "tone.wav", rate=8000, channels=1, seconds=60, hz=440)
        self._orders = folder / "orders"
        os.mkfifo(self._orders)
        self._pipe = os.open(self._orders, os.O_RDWR)
        program = Path(__file__).with_name("linphone_typist.py")
        self._process = PeerProcess(
            f"typist-{user}",
            [sys.executable, str(program), str(config), str(tone), str(self._orders)],
            directory=folder,
            environment={"HOME": str(folder)},
        )

    @property
    def log(self) -> str:
        return self._process.log()

    async def start(self) -> None:
        await self._process.start()

    def order(self, text: str) -> None:
        """`call URI`, or `type TEXT` once it is talking."""
        os.write(self._pipe, f"{text}\n".encode())

    async def wait_for(self, pattern: str, timeout_s: float = 40.0) -> None:
        """Wait until it has printed it."""
        await self._process.wait_for_log(pattern, timeout_s)

    async def stop(self) -> None:
        await self._process.stop()
        os.close(self._pipe)


@contextlib.asynccontextmanager
async def typist(user: str, server: Daemon, directory: Path) -> AsyncIterator[Typist]:
    """Registers at the daemon and waits until it is."""
    running = Typist(user, server, directory)
    await running.start()
    try:
        await running.wait_for("registered")
        yield running
    finally:
        await running.stop()
