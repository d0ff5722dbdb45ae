"""Metrics."""

from __future__ import annotations

import pytest
from prometheus_client.core import CounterMetricFamily

from mediaserver.runtime.metrics import Metrics


def test_a_metric_is_made_once(metrics: Metrics) -> None:
    first = metrics.counter("calls_total", "Calls", ["by"])
    assert metrics.counter("calls_total", "Calls", ["by"]) is first
    with pytest.raises(ValueError, match="exists already"):
        metrics.counter("calls_total", "Calls", ["other"])
    with pytest.raises(ValueError, match="exists already"):
        metrics.gauge("calls_total", "Calls", ["by"])


def test_counters_are_named_as_prometheus_wants_them(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="_total"):
        metrics.counter("calls", "Calls")


def test_two_sets_of_metrics_know_nothing_of_each_other() -> None:
    one, other = Metrics(), Metrics()
    one.counter("calls_total", "Calls").inc()
    other.counter("calls_total", "Calls")
    assert (one.value("calls_total"), other.value("calls_total")) == (1.0, 0.0)


def test_what_is_rendered_has_name_help_and_labels(metrics: Metrics) -> None:
    metrics.histogram("setup_seconds", "Set-up", buckets=[0.1, 1.0]).observe(0.5)
    metrics.gauge("legs", "Legs now", ["kind"]).labels("sip").set(2)
    text = metrics.render().decode()
    assert "# HELP mediaserver_legs Legs now" in text
    assert 'mediaserver_legs{kind="sip"} 2.0' in text
    assert 'mediaserver_setup_seconds_bucket{le="1.0"} 1.0' in text


def test_a_source_is_asked_at_every_scrape_until_undone(metrics: Metrics) -> None:
    drops = [3]
    undo = metrics.add_source(lambda: [CounterMetricFamily("mediaserver_drops", "Drops", value=drops[0])])
    assert "mediaserver_drops_total 3.0" in metrics.render().decode()
    drops[0] = 4
    assert "mediaserver_drops_total 4.0" in metrics.render().decode()
    undo()
    assert "mediaserver_drops" not in metrics.render().decode()


def test_label_values_lead_to_one_child_however_they_are_given(metrics: Metrics) -> None:
    for made in (
        metrics.counter("calls_total", "Calls", ["by", "why"]),
        metrics.gauge("calls_now", "Calls", ["by", "why"]),
        metrics.histogram("call_seconds", "Calls", ["by", "why"]),
    ):
        first = made.labels("agent", "hangup")
        assert made.labels("agent", "hangup") is first
        assert made.labels(by="agent", why="hangup") is first
        assert made.labels("hangup", "agent") is not first
        with pytest.raises(ValueError, match="label"):
            made.labels("agent")
    metrics.counter("calls_total", "Calls", ["by", "why"]).labels("agent", "hangup").inc(2)
    assert metrics.value("calls_total", by="agent", why="hangup") == 2
