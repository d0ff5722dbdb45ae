"""Metrics: one Prometheus registry as an object, each name created once and handed on by keyword."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_M = TypeVar("_M", Counter, Gauge, Histogram)

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Content-Type of what `Metrics.render` returns."""

SETUP_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Buckets for things that people wait for, in seconds."""


class Metrics:
    """Creates metrics named `mediaserver_<name>` in a registry of its own.

    Names carry their base unit (`_seconds`, `_bytes`, counters `_total`). Asking twice for one name with the same kind
    and labels returns the same metric; with others it raises `ValueError`.
    """

    def __init__(self, registry: CollectorRegistry | None = None, *, prefix: str = "mediaserver_") -> None:
        self.registry = registry if registry is not None else CollectorRegistry(auto_describe=True)
        self._prefix = prefix
        self._made: dict[str, tuple[type, tuple[str, ...], Counter | Gauge | Histogram]] = {}

    def counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        """A number that only grows; `name` ends in `_total`."""
        if not name.endswith("_total"):
            raise ValueError(f"counter {name!r} must end in _total")
        return self._once(
            Counter,
            name,
            labels,
            lambda full: _Counter(full, documentation, tuple(labels), registry=self.registry),
        )

    def gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        """A number that goes up and down."""
        return self._once(
            Gauge,
            name,
            labels,
            lambda full: _Gauge(full, documentation, tuple(labels), registry=self.registry),
        )

    def histogram(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = SETUP_SECONDS,
    ) -> Histogram:
        """A distribution; `buckets` are upper bounds in the unit that ends the name."""
        return self._once(
            Histogram,
            name,
            labels,
            lambda full: _Histogram(full, documentation, tuple(labels), registry=self.registry, buckets=tuple(buckets)),
        )

    def add_source(self, collect: Callable[[], Iterable[Metric]]) -> Callable[[], None]:
        """Ask `collect` for metrics at every scrape (the engine's counters come this way); returns how to undo it."""
        source = _Source(collect)
        self.registry.register(source)
        return lambda: self.registry.unregister(source)

    def value(self, name: str, **labels: str) -> float:
        """Present value of one sample, by its name without the prefix; 0.0 where it has not been seen yet."""
        found = self.registry.get_sample_value(self._prefix + name, labels)
        return 0.0 if found is None else found

    def render(self) -> bytes:
        """The text exposition format, for a response with the content type `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def _once(self, kind: type[_M], name: str, labels: Sequence[str], make: Callable[[str], _M]) -> _M:
        known = self._made.get(name)
        if known is None:
            made = make(self._prefix + name)
            self._made[name] = (kind, tuple(labels), made)
            return made
        if known[0] is not kind or known[1] != tuple(labels) or not isinstance(known[2], kind):
            raise ValueError(f"metric {name!r} exists already as {known[0].__name__} with labels {known[1]}")
        return known[2]


class _Remembering(MetricWrapperBase):
    """Finds the child of label values that it has seen before without the checks, the lock and the copies of `labels`.

    Children are never removed here, and as many as the labels have values.
    """

    _seen: dict[tuple[object, ...], Self]

    def labels(self, *values: object, **named: object) -> Self:
        """The child of these label values."""
        if named:
            return super().labels(*values, **named)
        try:
            return self._seen[values]
        except (AttributeError, KeyError):
            child = super().labels(*values)
        self.__dict__.setdefault("_seen", {})[values] = child
        return child


class _Counter(_Remembering, Counter):
    """A counter."""


class _Gauge(_Remembering, Gauge):
    """A gauge."""


class _Histogram(_Remembering, Histogram):
    """A histogram."""


class _Source(Collector):
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        return iter(self._collect())
