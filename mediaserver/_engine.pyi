"""Typed face of the Rust extension; see `mediaserver.engine` for what the bytes hold."""

from typing import final

__version__: str

@final
class Engine:
    """The packet engine: threads that own sockets. Every method may be called from any thread."""

    def __new__(cls, config: bytes) -> Engine:
        """Read the configuration (msgpack of `EngineConfig`). Raises ValueError when it is not usable."""

    @property
    def event_fd(self) -> int:
        """An eventfd that is readable when `drain` has something to give."""

    def start(self) -> None:
        """Bind the sockets and start one thread per shard. Raises OSError; RuntimeError when called twice."""

    def submit(self, batch: bytes) -> None:
        """Hand an array of commands to the shards. Raises ValueError when it cannot be read; then none of it counts."""

    def drain(self) -> bytes:
        """An array of all events that wait."""

    def counters(self) -> bytes:
        """A map of counter name to value."""

    def stop(self, deadline_ms: int) -> None:
        """Close all transports and join the threads. Raises RuntimeError when a thread outlives the deadline."""
