"""What a browser's getStats says about each RTP stream, the same for Chromium and Firefox."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

WATCH_CONNECTIONS = """
(() => {
  if (window.__connections || !window.RTCPeerConnection) return;
  const connections = window.__connections = [];
  const Original = window.RTCPeerConnection;
  window.RTCPeerConnection = class RTCPeerConnection extends Original {
    constructor(...args) { super(...args); connections.push(this); }
  };
})();
"""
"""Runs before a page's own scripts and remembers every RTCPeerConnection the page makes."""

COLLECT = """
async () => {
  const all = [];
  for (const [index, connection] of (window.__connections || []).entries()) {
    if (connection.connectionState === 'closed') continue;
    const report = await connection.getStats();
    const byId = new Map();
    report.forEach(item => byId.set(item.id, item));
    for (const item of byId.values()) {
      if (item.type !== 'inbound-rtp' && item.type !== 'outbound-rtp') continue;
      const codec = byId.get(item.codecId);
      const source = byId.get(item.mediaSourceId);
      all.push({...item, index, mimeType: codec ? codec.mimeType : null, payloadType: codec ? codec.payloadType : null,
                sdpFmtpLine: codec ? codec.sdpFmtpLine || '' : '',
                sourceLevel: source && source.audioLevel !== undefined ? source.audioLevel : null});
    }
  }
  return all;
}
"""


@dataclass(frozen=True, slots=True)
class Media:
    """One RTP stream of a page. Counters are totals, or gains where :meth:`since` made them so."""

    connection: int
    """Which RTCPeerConnection of the page, in the order of their making."""
    id: str
    direction: str
    """``inbound`` or ``outbound``."""
    kind: str
    """``audio`` or ``video``."""
    ssrc: int
    mid: str
    codec: str
    """As in SDP: ``opus``, ``H264``; empty before the first packet."""
    format: str
    """The codec's ``a=fmtp`` parameters."""
    payload_type: int
    packets: int
    bytes: int
    packets_lost: int
    frames: int
    """Decoded (inbound) or encoded (outbound)."""
    key_frames: int
    width: int
    height: int
    audio_level: float
    """Now, 0.0 to 1.0."""
    audio_energy: float
    """Squared level times seconds."""
    audio_seconds: float
    concealed_samples: int
    samples: int
    nacks: int
    plis: int
    jitter_s: float
    freezes: int
    at_ms: float
    seconds: float = 0.0
    """Time between the two readings; 0.0 in a single one."""

    @property
    def frames_per_s(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0

    @property
    def loudness(self) -> float:
        """Root mean square of the sound between the two readings; look at 1 s or more.

        Fake microphones beep twice a second. Chromium counts nothing for an element that is ``muted``.
        """
        return (self.audio_energy / self.audio_seconds) ** 0.5 if self.audio_seconds > 0 else 0.0

    @property
    def concealed(self) -> float:
        """Share of the samples played that were made up because none had come."""
        return self.concealed_samples / self.samples if self.samples else 0.0

    def since(self, before: Media | None) -> Media:
        """What changed since an earlier reading of the same stream."""
        if before is None:
            return self
        return replace(
            self,
            packets=self.packets - before.packets,
            bytes=self.bytes - before.bytes,
            packets_lost=self.packets_lost - before.packets_lost,
            frames=self.frames - before.frames,
            key_frames=self.key_frames - before.key_frames,
            audio_energy=self.audio_energy - before.audio_energy,
            audio_seconds=self.audio_seconds - before.audio_seconds,
            concealed_samples=self.concealed_samples - before.concealed_samples,
            samples=self.samples - before.samples,
            nacks=self.nacks - before.nacks,
            plis=self.plis - before.plis,
            freezes=self.freezes - before.freezes,
            seconds=(self.at_ms - before.at_ms) / 1000,
        )


def parse(items: list[dict[str, Any]]) -> list[Media]:
    """Read what the collecting script returned."""
    return [_parse_one(item) for item in items]


def _parse_one(item: dict[str, Any]) -> Media:
    inbound = item["type"] == "inbound-rtp"

    def whole(*names: str) -> int:
        return next((int(item[name]) for name in names if item.get(name) is not None), 0)

    def real(*names: str) -> float:
        return next((float(item[name]) for name in names if item.get(name) is not None), 0.0)

    return Media(
        connection=item["index"],
        id=item["id"],
        direction="inbound" if inbound else "outbound",
        kind=item["kind"],
        ssrc=whole("ssrc"),
        mid=str(item.get("mid") or ""),
        codec=(item.get("mimeType") or "/").split("/")[1],
        format=str(item.get("sdpFmtpLine") or ""),
        payload_type=whole("payloadType"),
        packets=whole("packetsReceived") if inbound else whole("packetsSent"),
        bytes=whole("bytesReceived") if inbound else whole("bytesSent"),
        packets_lost=whole("packetsLost"),
        frames=whole("framesDecoded") if inbound else whole("framesEncoded"),
        key_frames=whole("keyFramesDecoded") if inbound else whole("keyFramesEncoded"),
        width=whole("frameWidth"),
        height=whole("frameHeight"),
        audio_level=real("audioLevel", "sourceLevel"),
        audio_energy=real("totalAudioEnergy"),
        audio_seconds=real("totalSamplesDuration"),
        concealed_samples=whole("concealedSamples"),
        samples=whole("totalSamplesReceived"),
        nacks=whole("nackCount"),
        plis=whole("pliCount"),
        jitter_s=real("jitter"),
        freezes=whole("freezeCount"),
        at_ms=real("timestamp"),
    )
