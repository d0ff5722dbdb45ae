"""What the daemon says when it is ready: pages, SIP server, and how the demo's agent signs in."""

from __future__ import annotations

from collections.abc import Iterator

from mediaserver.config.model import Config
from mediaserver.config.secrets import SecretStore
from mediaserver.config.state import bind_addresses
from mediaserver.config.values import SocketAddress
from mediaserver.runtime.interfaces import local_addresses

_MAX_USERS = 3


def welcome(config: Config, secrets: SecretStore, *, with_passwords: bool) -> Iterator[tuple[str, str]]:
    """Yields (label, text) lines. Without `with_passwords` it names the file of a password in its place."""
    if config.role == "edge":
        yield from _edge(config)
        return
    for name, edge in config.link.edges.items():
        yield f"Edge {name}", f"dialled at {edge.address}"
    bases = [*_bases("http", config.listeners.http.bind), *_bases("https", config.listeners.https.bind)]
    if config.web.pages and bases:
        for entry in config.entries:
            yield "Caller page", "  ".join(f"{base}/call/{entry}" for base in bases)
        yield "Agent page", "  ".join(f"{base}/agent" for base in bases)
    sip = config.listeners.sip
    served = [f"{word} {port}" for word, port in (("UDP", sip.udp), ("TCP", sip.tcp), ("TLS", sip.tls)) if port]
    addresses = [str(announced) for _, announced in bind_addresses(config, sip.networks)]
    if served:
        yield "SIP server", f"{' or '.join(addresses)}, {', '.join(served)}, realm {sip.realm}"
    for name, user in list(config.users.items())[:_MAX_USERS]:
        if user.secret.env is not None:
            password = f"in the environment variable {user.secret.env}"
        elif with_passwords:
            password = secrets.text(user.secret)
        else:
            password = f"in {secrets.file_of(user.secret)}"
        yield f"User {name}", f"password {password}"
    for bind in config.listeners.admin.bind:
        yield "Metrics", f"http://{bind}/metrics"


def _edge(config: Config) -> Iterator[tuple[str, str]]:
    webrtc, shared = config.listeners.webrtc, config.listeners.shared_tls
    told = ", ".join(str(address) for _, address in bind_addresses(config, webrtc.networks))
    yield "Visitors' media", f"{told}, UDP {webrtc.port}"
    for bind in shared.bind:
        yield "Visitors' pages", f"{bind}, passed through for {', '.join(shared.names) or 'no name'}"
    yield "Cores", f"may dial {config.link.listen}: {', '.join(config.link.cores)}"
    for bind in config.listeners.admin.bind:
        yield "Metrics", f"http://{bind}/metrics"


def _bases(scheme: str, binds: tuple[SocketAddress, ...]) -> Iterator[str]:
    for bind in binds:
        if bind.host in ("0.0.0.0", "::"):
            # The first address that others can reach; localhost where there is none.
            outside = [address for address in local_addresses() if not address.is_loopback and address.version == 4]
            yield f"{scheme}://{outside[0] if outside else 'localhost'}:{bind.port}"
        elif bind.host in ("127.0.0.1", "::1"):
            yield f"{scheme}://localhost:{bind.port}"
        else:
            yield f"{scheme}://{bind}"
