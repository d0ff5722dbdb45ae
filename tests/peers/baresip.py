"""baresip 1.0.0 as a SIP phone: controlled over ctrl_tcp, with a tone to say and a recording of what it hears.

What this version of baresip taught:

* it binds its SIP port for UDP and TCP **and the next port for TLS**;
* a WAV source must have exactly the codec's rate and channels, and its end ends the call: tones are long here;
* events are sent only to the one connection that ``ctrl_tcp`` holds;
* video received shows in the ``video_debug`` command: frames that reached the display, keyframes, packets;
* its module dtls_srtp makes itself a certificate of RSA, which our DTLS library does not know, and takes none from a file:
  it is given one of ECDSA by a function that is loaded before libre's (``baresip_ecdsa.c``);
* its own answer delay does not exist yet, so automatic answers are given by this harness.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.peers.certificates import write_certificates
from tests.peers.namespace import LOOPBACK, Network
from tests.peers.process import PeerError, PeerProcess
from tests.peers.tone import Recording, read_wav, write_tone

MODULES = "/usr/lib/baresip/modules"
RTP_PORTS = "22000-31999"
TONE_SECONDS = 240

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Codec:
    """An audio codec as baresip names it, with the WAV format it needs."""

    name: str
    rate: int
    channels: int


PCMU = Codec("PCMU/8000/1", 8000, 1)
PCMA = Codec("PCMA/8000/1", 8000, 1)
G722 = Codec("G722/16000/1", 16000, 1)
OPUS = Codec("opus/48000/2", 48000, 2)


@dataclass(frozen=True, slots=True)
class Phone:
    """What a phone is: its account, its transport and what it can do."""

    user: str
    domain: str = ""
    """``host`` or ``host:port`` of registrar and proxy; empty: no server, the phone is called directly."""
    password: str = ""
    transport: str = "udp"
    """``udp``, ``tcp`` or ``tls``, used towards ``domain``."""
    register: bool = False
    register_s: int = 300
    """How long a registration is to last; it is renewed a little earlier."""
    audio: Sequence[Codec] = (PCMU,)
    """Codecs in order of preference; all must share rate and channels of the first."""
    video: Sequence[str] = ()
    """``H264`` and ``VP8``, in order of preference; empty: no video at all."""
    encryption: str = ""
    """``""`` plain RTP, ``srtp-mand`` SDES required, ``srtp`` SDES offered, ``dtls_srtp``."""
    answer_after_s: float | None = 0.0
    """Seconds of ringing before the harness answers; None: the test answers by :meth:`Baresip.accept`."""
    tone_hz: int = 440
    video_size: str = "352x288"
    video_fps: int = 25
    certificate: Path | None = None
    """PEM with key and certificate for this phone's own TLS listener."""
    ca_file: Path | None = None
    extra_config: Sequence[str] = field(default=())


@dataclass(frozen=True, slots=True)
class VideoStats:
    """The phone's view of the call's picture; counts since its video stream started."""

    frames_sent: int
    frames_shown: int
    """Decoded frames that reached the display."""
    keyframes: int
    picture_requests: int
    width: int
    height: int
    encoder: str
    decoder: str
    packets_received: int


@dataclass(frozen=True, slots=True)
class AudioStats:
    encoder: str
    decoder: str
    packets_sent: int
    packets_received: int
    lost: int
    secure: bool
    """Whether SRTP keys are in use."""


class Baresip:
    """A running phone. ``events`` holds every event since the start, oldest first."""

    def __init__(self, phone: Phone, directory: Path, network: Network = LOOPBACK, sip_port: int | None = None) -> None:
        self.phone = phone
        self.directory = directory
        self.network = network
        self.sip_port = network.free_port(2) if sip_port is None else sip_port
        self.events: list[Event] = []
        self._control_port = network.free_port()
        self._process = PeerProcess(
            f"baresip-{phone.user}",
            ["baresip", "-4", "-f", str(directory), "-v"],
            directory=directory,
            environment=_ecdsa(directory) if phone.encryption == "dtls_srtp" else {},
            prefix=network.exec_prefix,
        )
        self._writer: asyncio.StreamWriter | None = None
        self._reader_task: asyncio.Task[None] | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self._replies: dict[str, asyncio.Future[Event]] = {}
        self._tokens = itertools.count(1)
        self._changed = asyncio.Event()
        self._seen = 0
        self._host = network.address

    @property
    def uri(self) -> str:
        """The URI at which the phone is reached directly, without a server."""
        port, parameter = (
            (self.sip_port + 1, ";transport=tls")
            if self.phone.transport == "tls"
            else (self.sip_port, f";transport={self.phone.transport}")
        )
        return f"sip:{self.phone.user}@{self._host}:{port}{parameter}"

    @property
    def log(self) -> str:
        return self._process.log()

    @property
    def pid(self) -> int:
        return self._process.pid

    # --- lifetime

    async def start(self) -> None:
        self._write_files()
        await self._process.start()
        await self._process.wait_for_log(r"baresip is ready\.")
        reader, self._writer = await self.network.connect(self._host, self._control_port)
        self._reader_task = asyncio.create_task(self._read(reader), name=f"baresip-{self.phone.user}-events")

    async def stop(self) -> None:
        for task in (*self._answers, *([self._reader_task] if self._reader_task else [])):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._writer is not None:
            self._writer.close()
        await self._process.stop()

    # --- what a person does

    async def dial(self, uri: str) -> None:
        """Start a call; success only means that the INVITE was built."""
        await self.command("dial", uri)

    async def accept(self) -> None:
        await self.command("accept")

    async def hangup(self) -> None:
        """End the call, or refuse it while it rings."""
        await self.command("hangup")

    async def hold(self) -> None:
        await self.command("hold")

    async def resume(self) -> None:
        await self.command("resume")

    async def reinvite(self) -> None:
        await self.command("reinvite")

    async def mute(self) -> None:
        await self.command("mute")

    # --- what a test looks at

    async def wait_registered(self, timeout_s: float = 40.0) -> None:
        """Wait for the registrar's verdict; raises :class:`PeerError` when it refuses.

        Read from the log: the first registration may be over before the control connection stands.
        """
        verdict = await self._process.wait_for_log(r"\} (200) OK|reg: \S+ (.+)", timeout_s)
        if verdict[1] is None:
            raise PeerError(f"{self.phone.user} was refused: {verdict[2]}")

    async def wait_established(self, timeout_s: float = 40.0) -> Event:
        return await self.wait_for_type("CALL_ESTABLISHED", timeout_s)

    async def wait_incoming(self, timeout_s: float = 40.0) -> Event:
        return await self.wait_for_type("CALL_INCOMING", timeout_s)

    async def wait_closed(self, timeout_s: float = 40.0) -> Event:
        """The call's end; ``param`` of the event says why, as baresip saw it."""
        return await self.wait_for_type("CALL_CLOSED", timeout_s)

    async def wait_for_type(self, kind: str, timeout_s: float = 40.0) -> Event:
        return await self.wait_for(lambda event: event["type"] == kind, timeout_s)

    async def wait_for(self, matches: Callable[[Event], bool], timeout_s: float = 40.0) -> Event:
        """Next event that matches, after the last one a wait returned; raises :class:`PeerError` in time."""
        position = self._seen
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    while position < len(self.events):
                        event = self.events[position]
                        position += 1
                        if matches(event):
                            self._seen = position
                            return event
                    if self._process.returncode is not None:
                        raise PeerError(f"baresip ended with {self._process.returncode}:\n{self._process.log_tail()}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            kinds = [event["type"] for event in self.events]
            raise PeerError(
                f"{self.phone.user}: nothing matched in {timeout_s} s; events {kinds}\n{self._process.log_tail()}"
            ) from None

    async def video_stats(self) -> VideoStats:
        """Raises :class:`PeerError` when the call has no video stream."""
        text = await self.command("video_debug")

        def number(pattern: str) -> int:
            match = re.search(pattern, text)
            return int(match[1]) if match else 0

        if "Video stream" not in text:
            raise PeerError(f"no video stream: {text!r}")
        transmit, _, receive = text.partition("rx: decode:")
        size = re.search(r"vidisp: \S+ (\d+) x (\d+) frames=(\d+)", receive)
        frames_sent = re.search(r"source: .*? frames=(\d+)", transmit)
        encoder = re.search(r"tx: encode: (\S+)", transmit)
        return VideoStats(
            frames_sent=int(frames_sent[1]) if frames_sent else 0,
            frames_shown=int(size[3]) if size else 0,
            keyframes=number(r"n_keyframes=(\d+)"),
            picture_requests=number(r"n_picup=(\d+)"),
            width=int(size[1]) if size else 0,
            height=int(size[2]) if size else 0,
            encoder=encoder[1] if encoder else "",
            decoder=receive.split()[0] if receive.split() else "",
            packets_received=number(r"rcvd=(\d+)"),
        )

    async def audio_stats(self) -> AudioStats:
        text = await self.command("audio_debug")
        encoder = re.search(r"encode: (\S+)", text)
        decoder = re.search(r"decode: (\S+)", text)
        sent = re.search(r"TX: packets=(\d+)", text)
        member = re.search(r"member .*?: lost=(-?\d+).*?rcvd=(\d+)", text, re.DOTALL)
        return AudioStats(
            encoder=encoder[1] if encoder else "",
            decoder=decoder[1] if decoder else "",
            packets_sent=int(sent[1]) if sent else 0,
            packets_received=int(member[2]) if member else 0,
            lost=int(member[1]) if member else 0,
            secure="secure=yes" in text,
        )

    async def call_text(self) -> str:
        """baresip's own description of the current call: state, SDP attributes, formats in use."""
        return await self.command("callstat")

    async def shown_frames_per_s(self, seconds: float) -> float:
        """Frames that reached the display per second, over the next ``seconds``."""
        loop = asyncio.get_running_loop()
        before, started = await self.video_stats(), loop.time()
        await asyncio.sleep(seconds)
        after, ended = await self.video_stats(), loop.time()
        return (after.frames_shown - before.frames_shown) / (ended - started)

    def heard(self) -> Recording:
        """The newest recording of decoded sound, empty before the first packet.

        Nothing is written while no packets come: a gap leaves no silence.
        """
        files = sorted(self.directory.glob("dump-*-dec.wav"), key=lambda path: path.stat().st_mtime_ns)
        return read_wav(files[-1]) if files else Recording(8000, [])

    # --- control connection

    async def command(self, name: str, parameters: str = "", timeout_s: float = 30.0) -> str:
        """Run one of baresip's commands and return what it printed."""
        if self._writer is None:
            raise PeerError("baresip was not started")
        token = str(next(self._tokens))
        reply: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._replies[token] = reply
        message = json.dumps({"command": name, "params": parameters, "token": token}).encode()
        self._writer.write(b"%d:%s," % (len(message), message))
        try:
            async with asyncio.timeout(timeout_s):
                answer = await reply
        except TimeoutError:
            raise PeerError(f"baresip did not answer {name!r}:\n{self._process.log_tail()}") from None
        finally:
            del self._replies[token]
        text = str(answer.get("data", ""))
        if not answer.get("ok"):
            raise PeerError(f"baresip refused {name} {parameters}: {text}")
        return text

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Netstrings that hold JSON, both replies and events."""
        try:
            while True:
                length = int((await reader.readuntil(b":"))[:-1])
                message = json.loads((await reader.readexactly(length + 1))[:-1])
                if message.get("event"):
                    self.events.append(message)
                    if message["type"] == "CALL_INCOMING" and self.phone.answer_after_s is not None:
                        task = asyncio.create_task(self._answer(self.phone.answer_after_s), name="baresip-answer")
                        self._answers.add(task)
                        task.add_done_callback(self._answers.discard)
                elif (waiting := self._replies.get(message.get("token", ""))) is not None and not waiting.done():
                    waiting.set_result(message)
                self._changed.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            self._changed.set()

    async def _answer(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await self.accept()

    # --- files

    def _write_files(self) -> None:
        phone = self.phone
        first = phone.audio[0]
        tone = write_tone(
            self.directory / "tone.wav",
            rate=first.rate,
            channels=first.channels,
            seconds=TONE_SECONDS,
            hz=phone.tone_hz,
        )
        modules = ["g711", "g722", "opus", "aufile", "srtp", "dtls_srtp", "stun", "turn", "ice", "sndfile"]
        if phone.video:
            modules += ["avcodec", "vp8", "fakevideo"]
        lines = [
            f"sip_listen {self._host}:{self.sip_port}",
            f"net_interface {self._host}",
            f"rtp_ports {RTP_PORTS}",
            "rtp_stats yes",
            f"audio_source aufile,{tone}",
            "audio_player nil",
            f"ausrc_srate {first.rate}",
            f"auplay_srate {first.rate}",
            f"ausrc_channels {first.channels}",
            f"auplay_channels {first.channels}",
            f"video_size {phone.video_size}",
            f"video_fps {phone.video_fps}",
            *(["video_source fakevideo,", "video_display fakevideo,"] if phone.video else []),
            *([f"sip_certificate {phone.certificate}"] if phone.certificate else []),
            *([f"sip_cafile {phone.ca_file}"] if phone.ca_file else []),
            f"snd_path {self.directory}",
            f"module_path {MODULES}",
            *(f"module {name}.so" for name in modules),
            "module_tmp uuid.so",
            "module_tmp account.so",
            "module_app menu.so",
            "module_app ctrl_tcp.so",
            f"ctrl_tcp_listen {self._host}:{self._control_port}",
            *phone.extra_config,
        ]
        (self.directory / "config").write_text("\n".join(lines) + "\n")
        domain = phone.domain or f"{self._host}:{self.sip_port}"
        parameters = [
            f"auth_user={phone.user}" if phone.password else "",
            f"auth_pass={phone.password}" if phone.password else "",
            f'outbound="sip:{domain};transport={phone.transport}"' if phone.domain else "",
            f"regint={phone.register_s if phone.register else 0}",
            "answermode=manual",
            f"audio_codecs={','.join(codec.name for codec in phone.audio)}",
            f"video_codecs={','.join(phone.video)}" if phone.video else "",
            f"mediaenc={phone.encryption}" if phone.encryption else "",
        ]
        account = f"<sip:{phone.user}@{domain};transport={phone.transport}>;" + ";".join(filter(None, parameters))
        (self.directory / "accounts").write_text(account + "\n")


def _ecdsa(directory: Path) -> dict[str, str]:
    """What a phone's environment needs for a certificate of ECDSA."""
    library = directory / "ecdsa.so"
    source = Path(__file__).parent / "baresip_ecdsa.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return {"LD_PRELOAD": str(library), "BARESIP_ECDSA": str(write_certificates(directory, "dtls.invalid").both)}


@contextlib.asynccontextmanager
async def baresip(
    phone: Phone, directory: Path, network: Network = LOOPBACK, sip_port: int | None = None
) -> AsyncIterator[Baresip]:
    """Start a phone in ``directory`` (a folder of its own is made inside) and end it afterwards."""
    home = directory / f"baresip-{phone.user}"
    home.mkdir(parents=True)
    running = Baresip(phone, home, network, sip_port)
    try:
        await running.start()
        yield running
    finally:
        await running.stop()
