"""The engine's counters under Prometheus names, in base units, one sample a shard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

_PREFIX: Final = "mediaserver_engine_"
_NANOSECOND: Final = 1e-9
_MICROSECOND: Final = 1e-6

_COUNTERS: Final[Mapping[str, tuple[str, str, float]]] = {
    "audio_given_up_ticks": ("audio_given_up_ticks", "Deadlines of audio threads that were given up", 1),
    "audio_late_ticks": ("audio_late_ticks", "Deadlines of audio threads that were missed by more than 5 ms", 1),
    "audio_ticks": ("audio_ticks", "Deadlines of audio threads", 1),
    "batches": ("receive_batches", "Batches of datagrams read", 1),
    "bytes_received": ("received_bytes", "Bytes of datagrams received", 1),
    "bytes_sent": ("sent_bytes", "Bytes of datagrams sent", 1),
    "cpu_ns": ("cpu_seconds", "CPU time of the engine's threads", _NANOSECOND),
    "data_messages": ("data_messages", "Messages given to data channels, once for each receiver", 1),
    "datagrams_carried": ("carried_datagrams", "Datagrams given to the thread that has the connection to a peer", 1),
    "datagrams_handed_over": ("handed_over_datagrams", "Datagrams that came in on another shard's socket", 1),
    "datagrams_received": ("received_datagrams", "Datagrams received", 1),
    "datagrams_sent": ("sent_datagrams", "Datagrams sent", 1),
    "events_lost": ("lost_events", "Events that found the queue to Python full", 1),
    "gso_runs": ("segmented_sends", "Messages that carried several datagrams (UDP segmentation)", 1),
    "link_bytes_received": (
        "link_received_bytes",
        "Bytes that came over the media link, headers of frames and of the line included",
        1,
    ),
    "link_bytes_sent": (
        "link_sent_bytes",
        "Bytes sent over the media link, headers of frames and of the line included",
        1,
    ),
    "link_connections": ("link_connections", "Connections of links that came up", 1),
    "link_frames_received": ("link_received_frames", "Frames that came over the media link, by UDP or TLS", 1),
    "link_frames_sent": ("link_sent_frames", "Frames sent over the media link, by UDP or TLS", 1),
    "link_media_frames_received": ("link_media_frames_received", "Media frames that came over TLS", 1),
    "link_media_frames_sent": ("link_media_frames_sent", "Media frames sent over TLS", 1),
    "link_messages_received": ("link_messages_received", "Control messages of links received", 1),
    "link_messages_sent": ("link_messages_sent", "Control messages of links sent", 1),
    "link_streams_opened": ("link_streams_opened", "Visitors' connections that went over a link", 1),
    "link_streams_reset": ("link_streams_reset", "Visitors' connections over a link that ended by a reset", 1),
    "messages_received": ("received_messages", "Messages read from sockets; one may carry several datagrams", 1),
    "mix_concealed_samples": ("mix_concealed_samples", "Samples made up for mixed sound that did not come", 1),
    "mix_encoded_frames": ("mix_encoded_frames", "Frames encoded for those who hear a mix; one may be for several", 1),
    "mix_frames": ("mix_frames", "Packets given to those who hear a mix", 1),
    "mix_late": ("mix_late_packets", "Packets to be mixed that came after their time", 1),
    "mix_lost": ("mix_lost_packets", "Packets to be mixed that did not come in time, or never", 1),
    "mix_repaired": ("mix_repaired_packets", "Lost packets of mixed sound repeated by the packet behind them", 1),
    "mixes_refused": ("mixes_refused", "Changes of mixes that could not be", 1),
    "panics": ("panics", "Panics caught at the border of a transport", 1),
    "pauses": ("loop_pauses", "Times that a busy thread left its sockets alone for a moment, to find more at once", 1),
    "real_time_given_up": ("real_time_given_up", "Times that a thread was too busy to run before everything else", 1),
    "receive_errors": ("receive_errors", "Errors while reading a socket", 1),
    "rounds": ("loop_rounds", "Turns of the engine's loops", 1),
    "send_calls": ("send_calls", "System calls that sent", 1),
    "stream_connections": ("stream_connections", "TCP connections that were taken", 1),
    "streams_passed": ("streams_passed", "TLS connections of pages that were given to the web side", 1),
    "transcode_concealed_samples": ("transcode_concealed_samples", "Samples made up for sound that did not come", 1),
    "transcode_late": ("transcode_late_packets", "Packets to be transcoded that came after their time", 1),
    "transcode_lost": ("transcode_lost_packets", "Packets to be transcoded that did not come in time, or never", 1),
    "transcode_repaired": ("transcode_repaired_packets", "Lost packets repeated by the packet behind them", 1),
    "transcoded_frames": ("transcoded_frames", "Packets made of what was decoded", 1),
    "transcodes_opened": ("transcodes_opened", "Directions of sound that were transcoded", 1),
    "transcodes_refused": ("transcodes_refused", "Directions of sound that could not be transcoded", 1),
    "turn.bytes_to_clients": ("turn_bytes_to_clients", "Bytes of data relayed from peers to TURN clients", 1),
    "turn.bytes_to_peers": ("turn_bytes_to_peers", "Bytes of data relayed from TURN clients to peers", 1),
    "turn.packets_to_clients": ("turn_packets_to_clients", "Datagrams relayed from peers to TURN clients", 1),
    "turn.packets_to_peers": ("turn_packets_to_peers", "Datagrams relayed from TURN clients to peers", 1),
}
_GAUGES: Final[Mapping[str, tuple[str, str, float]]] = {
    "edge_paths": ("edge_paths", "Visitors' addresses that an Edge carries", 1),
    "edge_port_pairs": ("edge_port_pairs", "Pairs of ports that an Edge has open for media of phones and trunks", 1),
    "edge_revoked_sessions": ("edge_revoked_sessions", "Ended sessions whose tokens an Edge refuses", 1),
    "gso": ("segmentation_offload", "1 while UDP segmentation offload is used", 1),
    "link_paths": ("link_paths", "Visitors' addresses that come over Edges", 1),
    "links_over_tls": ("links_over_tls", "Those of them over TLS, because UDP does not pass", 1),
    "links_up": ("links_up", "Links to workers of Edges that carry media", 1),
    "mixed_legs": ("mixed_legs", "Legs that hear several others mixed", 1),
    "mixes": ("mixes", "Conferences whose sound is mixed", 1),
    "pinned": ("pinned", "1 while the thread is bound to a CPU", 1),
    "real_time": ("real_time", "1 while the thread runs before everything else on its CPU", 1),
    "receive_buffer_bytes": ("receive_buffer_bytes", "Receive buffer that the kernel granted", 1),
    "streams_open": ("streams_open", "TCP connections that are open", 1),
    "transcodes": ("transcodes", "Directions of sound that are decoded and encoded", 1),
    "transports": ("transports", "Transports that are open", 1),
    "turn.allocations": ("turn_allocations", "TURN allocations", 1),
}
_TIMES: Final[Mapping[str, tuple[str, str]]] = {
    "forward_latency_us": (
        "forward_latency_seconds",
        "Time from a packet's arrival to its departure, whichever shards it passed, waiting for its turn included",
    ),
    "pacing_delay_us": (
        "pacing_delay_seconds",
        "Time that packets waited for their turn so as not to flood a receiver's line, of those that had to",
    ),
}


def engine_metrics(counters: Mapping[str, int], connected: Mapping[str, int]) -> Iterator[Metric]:
    """Yields the metrics of what `Engine.counters` returned; sums over shards are left to whoever reads them.

    `connected` is `Engine.connected`: names of SRTP profiles as IANA registers them, `none` for plain RTP.
    """
    by_name: dict[str, dict[str, int]] = {}
    for full_name, value in counters.items():
        shard, _, name = full_name.partition(".")
        if shard.startswith("shard") and name:
            by_name.setdefault(name, {})[shard.removeprefix("shard")] = value
        elif (shard.startswith(("audio", "edge")) or shard in ("link", "relay", "streams")) and name:
            by_name.setdefault(name, {})[shard] = value
    drops = CounterMetricFamily(f"{_PREFIX}drops", "Packets dropped, by reason", labels=["shard", "reason"])
    for name, shards in by_name.items():
        if name.startswith("drop."):
            for shard, value in shards.items():
                drops.add_metric([shard, name.removeprefix("drop.")], value)
        elif name in _COUNTERS:
            yield _filled(CounterMetricFamily(*_named(_COUNTERS[name]), labels=["shard"]), shards, _COUNTERS[name][2])
        elif name in _GAUGES:
            yield _filled(GaugeMetricFamily(*_named(_GAUGES[name]), labels=["shard"]), shards, _GAUGES[name][2])
    yield drops
    for name in _TIMES:
        yield _histogram(name, by_name)
    profiles = CounterMetricFamily(
        f"{_PREFIX}transports_connected", "Transports over which media could flow", labels=["srtp_profile"]
    )
    for profile, value in connected.items():
        profiles.add_metric([profile], value)
    yield profiles


def _histogram(name: str, by_name: Mapping[str, Mapping[str, int]]) -> HistogramMetricFamily:
    published, text = _TIMES[name]
    family = HistogramMetricFamily(f"{_PREFIX}{published}", text, labels=["shard"])
    bounds = sorted(int(each.rpartition(".")[2]) for each in by_name if each.startswith(f"{name}.le."))
    for shard, count in by_name.get(f"{name}.count", {}).items():
        buckets = [(repr(us / 1_000_000), float(by_name[f"{name}.le.{us}"].get(shard, 0))) for us in bounds]
        total = by_name.get(f"{name}.sum", {}).get(shard, 0)
        family.add_metric([shard], [*buckets, ("+Inf", float(count))], total * _MICROSECOND)
    return family


def _named(entry: tuple[str, str, float]) -> tuple[str, str]:
    return f"{_PREFIX}{entry[0]}", entry[1]


def _filled(
    family: CounterMetricFamily | GaugeMetricFamily, shards: Mapping[str, int], unit: float
) -> CounterMetricFamily | GaugeMetricFamily:
    for shard, value in shards.items():
        family.add_metric([shard], value * unit)
    return family
