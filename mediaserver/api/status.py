"""What `mediaserver status` prints, asked of the running daemon's administration listener."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from rich.console import Console
from rich.table import Table

from mediaserver.config.model import Config
from mediaserver.config.secrets import SecretStore
from mediaserver.errors import MediaServerError

_TIMEOUT_S: Final = 5.0
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def ask(config: Config, secrets: SecretStore) -> dict[str, Any]:
    """`{trunks, registrations, edges}` of the daemon that runs with this configuration. Raises MediaServerError."""
    daemon = RunningDaemon(config, secrets)
    return {name: daemon.ask(f"/v1/{name}")["items"] for name in ("trunks", "registrations", "edges")}


class RunningDaemon:
    """The daemon that runs with this configuration. Raises MediaServerError where it has no administration listener."""

    def __init__(self, config: Config, secrets: SecretStore) -> None:
        binds = config.listeners.admin.bind
        if not binds:
            raise MediaServerError("listeners.admin.bind is empty: the daemon cannot be asked")
        host = _EVERYWHERE.get(binds[0].host, binds[0].host)
        self._base = f"http://[{host}]:{binds[0].port}" if ":" in host else f"http://{host}:{binds[0].port}"
        self._token = secrets.text(config.secrets.admin_token)

    def ask(
        self, path: str, *, method: Literal["GET", "POST", "DELETE"] = "GET", body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The answer to one request. Raises MediaServerError in words for an operator."""
        headers = {"Authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        data = None if body is None else json.dumps(body).encode()
        url = f"{self._base}{path}"
        return _answer(urllib.request.Request(url, data, headers, method=method))  # noqa: S310 - our own http


def _answer(request: urllib.request.Request) -> dict[str, Any]:
    url = request.full_url
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
            found: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        raise MediaServerError(
            f"{url} answered {error.code}: is this the configuration of the running daemon?"
        ) from None
    except (OSError, ValueError) as error:
        raise MediaServerError(f"{url} cannot be asked ({error}): does the daemon run?") from None
    return found


def show(status: Mapping[str, Sequence[Mapping[str, Any]]], console: Console) -> None:
    """A table of each; Edges only where there are any."""
    trunks = _table("Trunks", "trunk", "state", "calls in / out / most", "registration", "target", "hop", "is", "last")
    for trunk in status["trunks"]:
        calls = f"{trunk['incoming']} / {trunk['outgoing']} / {trunk['max_calls']}"
        head = [trunk["name"], trunk["state"], calls, _registration(trunk)]
        for target in trunk["targets"] or [{}]:
            last = str(target.get("last_code") or "-")
            trunks.add_row(*head, target.get("uri", "-"), target.get("hop", "-"), target.get("state", "-"), last)
            head = ["", "", "", ""]
    console.print(trunks)
    heard = [trunk["name"] for trunk in status["trunks"] if trunk["allow_plain"]]
    if heard:
        console.print(f"An Edge can hear the media of: {', '.join(heard)} (allow_plain)", style="bold", soft_wrap=True)
    devices = _table("Registrations", "address of record", "contact", "from", "over", "for", "device")
    for item in status["registrations"]:
        over, seconds = item["transport"], f"{item['expires_in_s']} s"
        devices.add_row(item["aor"], item["contact"], item["source"], over, seconds, item["user_agent"])
    console.print(devices)
    if status["edges"]:
        edges = _table("Edges", "Edge", "state", "media go", "sessions", "left after")
        for edge in status["edges"]:
            state = f"{edge['state']} ({edge['reason']})" if edge["reason"] else edge["state"]
            after = "-" if edge["remaining_s"] is None else f"{edge['remaining_s']:.0f} s"
            sessions = "-" if edge["sessions"] is None else str(edge["sessions"])
            edges.add_row(edge["name"], state, edge["media_words"], sessions, after)
        console.print(edges)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _registration(trunk: Mapping[str, Any]) -> str:
    state = trunk["registration"]
    if state is None:
        return "-"
    if state == "registered":
        return f"registered for {trunk['registered_for_s']:.0f} s"
    return f"{state} ({trunk['registration_code']})" if trunk["registration_code"] else str(state)
