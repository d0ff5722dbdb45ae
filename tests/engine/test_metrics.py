"""The engine's counters as an operator's monitoring sees them."""

from __future__ import annotations

import pytest

from mediaserver.engine.metrics import engine_metrics


def samples(counters: dict[str, int], connected: dict[str, int] | None = None) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in engine_metrics(counters, connected or {})
        for sample in metric.samples
    }


def test_counters_are_in_base_units_and_per_shard() -> None:
    found = samples({"cpu_ns": 5_000_000_000, "shard0.cpu_ns": 2_000_000_000, "shard1.cpu_ns": 3_000_000_000})
    assert found == {
        ("mediaserver_engine_cpu_seconds_total", "0"): 2.0,
        ("mediaserver_engine_cpu_seconds_total", "1"): 3.0,
    }


def test_the_media_link_is_counted_at_both_of_its_ends() -> None:
    found = samples({"shard1.link_bytes_sent": 5_000, "shard1.link_frames_sent": 7, "edge0.link_frames_received": 7})
    assert found == {
        ("mediaserver_engine_link_sent_bytes_total", "1"): 5_000,
        ("mediaserver_engine_link_sent_frames_total", "1"): 7,
        ("mediaserver_engine_link_received_frames_total", "edge0"): 7,
    }


def test_drops_are_named_by_reason() -> None:
    found = samples({"shard0.drop.gate_consent": 7})
    assert found == {("mediaserver_engine_drops_total", "0", "gate_consent"): 7}


@pytest.mark.parametrize(
    ("counter", "metric"),
    [("forward_latency_us", "forward_latency_seconds"), ("pacing_delay_us", "pacing_delay_seconds")],
)
def test_times_are_histograms_in_seconds(counter: str, metric: str) -> None:
    name = f"shard0.{counter}"
    found = samples(
        {f"{name}.count": 9, f"{name}.sum": 900, f"{name}.le.64": 5, f"{name}.le.1024": 8, f"{name}.p99": 3}
    )
    family = f"mediaserver_engine_{metric}"
    assert found == {
        (f"{family}_bucket", "0", "6.4e-05"): 5,
        (f"{family}_bucket", "0", "0.001024"): 8,
        (f"{family}_bucket", "0", "+Inf"): 9,
        (f"{family}_count", "0"): 9,
        (f"{family}_sum", "0"): pytest.approx(900e-6),
    }


def test_connected_transports_are_counted_by_their_srtp_profile() -> None:
    found = samples({}, {"none": 2, "AEAD_AES_128_GCM": 3})
    assert found == {
        ("mediaserver_engine_transports_connected_total", "none"): 2,
        ("mediaserver_engine_transports_connected_total", "AEAD_AES_128_GCM"): 3,
    }


def test_what_is_not_named_here_is_not_shown() -> None:
    assert samples({"shard0.something_new": 1, "transports": 3}) == {}
