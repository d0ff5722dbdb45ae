"""The command `mediaserver` with all that it can do besides running the daemon. A bad configuration exits with 78."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Annotated

import typer
import yaml
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mediaserver import link_commands
from mediaserver.command_line import (
    DEFAULT_FILE,
    EX_CONFIG,
    ConfigOption,
    JsonOption,
    StateOption,
    console,
    fail,
    fail_with,
    loaded_or_exit,
    read,
)
from mediaserver.config.bandwidth import MEDIA_KINDS
from mediaserver.config.covered_names import covering_problems
from mediaserver.config.loader import InvalidConfig, Loaded
from mediaserver.config.model import Config
from mediaserver.config.secrets import SecretStore
from mediaserver.config.state import State, open_state
from mediaserver.config.values import format_bitrate, parse_duration
from mediaserver.config.welcome import welcome
from mediaserver.errors import ConfigError, MediaServerError
from mediaserver.runtime import log, process
from mediaserver.runtime.sdnotify import Notifier

if TYPE_CHECKING:
    from mediaserver.call.bandwidth_check import Report
    from mediaserver.call.explanation import Explanation

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.add_typer(link_commands.app)

_PLACE = "IP address, CIDR, or name of a site, trunk or user."


@app.command()
def run(config: ConfigOption = DEFAULT_FILE, state_dir: StateOption = None) -> None:
    """Run the daemon until SIGTERM has drained it; SIGHUP reads the configuration again."""
    loaded = loaded_or_exit(config, state_dir)
    settings = loaded.config
    log.configure(settings.log.level, settings.log.format)
    try:
        state = open_state(settings)
        _check_secrets(loaded, first_start=False)
        _serve(settings, state, lambda: read(config, state_dir).config)
    except ConfigError as error:
        fail(str(error), code=EX_CONFIG)
    except (MediaServerError, OSError) as error:
        fail(f"cannot start: {error}", code=1)


@app.command("check-config")
def check_config(
    config: ConfigOption = DEFAULT_FILE,
    state_dir: StateOption = None,
    secrets: Annotated[bool, typer.Option(help="Look at secrets and certificates, too.")] = True,
) -> None:
    """Name every mistake in the configuration with file, line and key; exit 78 where there is one."""
    loaded = loaded_or_exit(config, state_dir)
    if secrets:
        _check_secrets(loaded, first_start=True)
        _check_certificates(loaded)
    typer.echo(f"{config}: good")


@app.command("show-config")
def show_config(config: ConfigOption = DEFAULT_FILE, state_dir: StateOption = None) -> None:
    """Print the configuration in force, defaults included; of secrets only where they come from."""
    plain = loaded_or_exit(config, state_dir).config.model_dump(mode="json")
    typer.echo(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110), nl=False)


@app.command("check-bandwidth")
def check_bandwidth(
    start: Annotated[str, typer.Option("--from", help=_PLACE, metavar="PLACE")],
    end: Annotated[str, typer.Option("--to", help=_PLACE, metavar="PLACE")],
    kind: Annotated[str, typer.Option(help="Of audio, video, screen.", metavar="KINDS")] = "audio,video",
    calls: Annotated[int, typer.Option(help="How many at a time.", min=1, max=100_000)] = 1,
    codec: Annotated[str | None, typer.Option(help="Sound codec; else those of the configuration.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_FILE,
) -> None:
    """Say what calls between two places are charged and whether they fit, without placing any.

    Exit code 0: they fit; 3: at a lower rate; 4: some without a picture; 5: some are refused.
    """
    # Imported here: the other commands start faster.
    from mediaserver.call.bandwidth_check import UnknownPlace, check, place_of

    settings = loaded_or_exit(config, None).config
    kinds = [known for known in MEDIA_KINDS if known in [part.strip() for part in kind.split(",")]]
    if len(kinds) != len(set(kind.split(","))):
        raise typer.BadParameter("expected audio, video, screen, or several with commas", param_hint="--kind")
    if codec is not None and codec not in settings.media.audio_codecs:
        known = ", ".join(settings.media.audio_codecs)
        raise typer.BadParameter(f"expected one of media.audio_codecs: {known}", param_hint="--codec")
    try:
        places = place_of(settings, start), place_of(settings, end)
    except UnknownPlace as error:
        raise typer.BadParameter(str(error)) from None
    log.configure("error", "console")  # decisions are the table's business here
    report = check(settings, *places, kinds=kinds, calls=calls, codecs=None if codec is None else (codec,))
    if as_json:
        typer.echo(json.dumps(asdict(report) | {"outcome": report.outcome}, indent=2))
    else:
        _print_bandwidth(report, start, end)
    raise typer.Exit({"admitted": 0, "lower_rate": 3, "audio_only": 4, "refused": 5}[report.outcome])


@app.command("explain-route")
def explain_route(
    number: Annotated[str | None, typer.Argument(help="Called number or user; leave it out with --entry.")] = None,
    caller: Annotated[str | None, typer.Option("--from", help="Calling number or user.", metavar="CALLER")] = None,
    trunk: Annotated[str | None, typer.Option(help="Trunk that the call comes in by.")] = None,
    entry: Annotated[str | None, typer.Option(help="Entry that the browser comes in by.")] = None,
    domain: Annotated[str | None, typer.Option(help="Domain that is called.")] = None,
    name: Annotated[str | None, typer.Option(help="Display name of the caller.")] = None,
    header: Annotated[list[str] | None, typer.Option(help="Header field of the INVITE, like X-Ticket=7.")] = None,
    attribute: Annotated[list[str] | None, typer.Option(help="Attribute of the contact, like tier=gold.")] = None,
    at: Annotated[str | None, typer.Option(help="When, like 2026-12-24T08:30+01:00; else now.")] = None,
    as_json: JsonOption = False,
    config: ConfigOption = DEFAULT_FILE,
) -> None:
    """Say which line of the routing table decides where a call goes, and why, without placing any.

    Exit code 0: it leads somewhere; 4: it is refused or leads nowhere.
    """
    # Imported here: the other commands start faster.
    from mediaserver.call.explanation import explain
    from mediaserver.call.routing import Question

    settings = loaded_or_exit(config, None).config
    for option, given, known in (("--trunk", trunk, settings.trunks), ("--entry", entry, settings.entries)):
        if given is not None and given not in known:
            raise typer.BadParameter(f"there is no {given!r}; known: {', '.join(known) or 'none'}", param_hint=option)
    if number is None and entry is None:
        raise typer.BadParameter("give the number that is called, or --entry", param_hint="NUMBER")
    question = Question(
        called=number,
        caller=caller,
        name=name,
        domain=domain.lower() if domain is not None else None,
        trunk=trunk,
        entry=entry,
        headers=tuple(_pairs(header, "--header")),
        attributes=dict(_pairs(attribute, "--attribute")),
        at=_moment(at),
    )
    found = explain(settings, question)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        _print_route(found)
    leads = found.goes_to is not None and not found.goes_to.startswith("refuse ") and found.refused is None
    raise typer.Exit(0 if leads else 4)


@app.command()
def status(
    config: ConfigOption = DEFAULT_FILE,
    state_dir: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the running daemon about trunks and their targets, calls on them, registrations and Edges; an Edge, whether a Core
    is there."""
    from mediaserver.api.status import ask, show  # the other commands start faster
    from mediaserver.daemon.edge_status import edge_state, trusted_edges

    settings = loaded_or_exit(config, state_dir).config
    try:
        is_edge = settings.role == "edge"
        found = edge_state(settings) if is_edge else ask(settings, SecretStore(settings, environment=os.environ))
        trusted = list(trusted_edges(settings))
    except ConfigError as error:
        fail(str(error), code=EX_CONFIG)
    except MediaServerError as error:
        fail(str(error), code=1)
    if as_json:
        typer.echo(json.dumps({**found, "trusted": trusted} if trusted else found, indent=2))
        return
    out = console()
    if is_edge:
        out.print(f"This Edge is {found['status']}. Cores: {found['checks']['core']}.", markup=False)
    else:
        show(found, out)
    for sentence in trusted:
        out.print(sentence, markup=False)


@app.command("drain-edge")
def drain_edge(
    name: Annotated[str, typer.Argument(help="Name of the Edge in `link.edges`.")],
    config: ConfigOption = DEFAULT_FILE,
    state_dir: StateOption = None,
    deadline: Annotated[str, typer.Option(help="After it what still goes over the Edge is closed.")] = "60s",
    undo: Annotated[bool, typer.Option("--undo", help="Use the Edge again.")] = False,
) -> None:
    """Have the running Core leave an Edge: no new sessions, those there are go over others. Returns when it is left."""
    from mediaserver.api.edge_drain import drain  # the other commands start faster

    settings = loaded_or_exit(config, state_dir).config
    try:
        deadline_s = None if undo else parse_duration(deadline)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--deadline") from None
    try:
        drain(settings, SecretStore(settings, environment=os.environ), name, deadline_s, say=typer.echo)
    except ConfigError as error:
        fail(str(error), code=EX_CONFIG)
    except MediaServerError as error:
        fail(str(error), code=1)


@app.command("hash-password")
def hash_password(
    user: Annotated[str, typer.Argument(help="User name; the digests are good for no other.")],
    config: ConfigOption = DEFAULT_FILE,
) -> None:
    """Print the digests of a password that a user's secret file may hold in its place. The password is asked for."""
    from mediaserver.sip.passwords import hashed  # the other commands start faster

    realm = loaded_or_exit(config, None).config.listeners.sip.realm
    password = typer.prompt("Password", hide_input=True, confirmation_prompt=sys.stdin.isatty(), err=True)
    typer.echo(hashed(user, realm, password))


@app.command()
def version() -> None:
    """Print the versions of the daemon and what it runs on."""
    typer.echo(f"mediaserver {_version()} (Python {platform.python_version()}, {platform.machine()})")


def main() -> None:
    """Entry point of the command."""
    app()


def _serve(settings: Config, state: State, read: Callable[[], Config]) -> None:
    # Imported here: the other commands start faster, and work where the extension was not built.
    import uvloop

    async def serve() -> None:
        service, reload = _service(settings, state, read)
        await process.run(
            service,
            notifier=Notifier(),
            drain_deadline_s=settings.drain.deadline,
            on_ready=lambda: _greet(settings, state),
            on_reload=reload,
        )

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


def _service(
    settings: Config, state: State, read: Callable[[], Config]
) -> tuple[process.Service, Callable[[], Awaitable[None]]]:
    """What the role asks for, and how it reloads."""
    try:
        if settings.role == "edge":
            from mediaserver.daemon import EdgeDaemon

            edge = EdgeDaemon(settings)
            return edge, lambda: edge.reload(read)
        from mediaserver.daemon import Daemon
    except ImportError as error:
        if "_engine" not in str(error):
            raise
        raise MediaServerError(
            f"the packet engine is not built for this environment ({error}): `make setup`"
        ) from error
    daemon = Daemon(settings, secrets=state.secrets)
    return daemon, lambda: daemon.reload(read)


def _greet(settings: Config, state: State) -> None:
    """Say where to go. Passwords go to a terminal only: what is piped may end in a log."""
    terminal = sys.stdout.isatty()
    body = Table.grid(padding=(0, 2))
    for label, value in welcome(settings, state.secrets, with_passwords=terminal):
        body.add_row(Text(label, style="bold"), Text(value, overflow="fold"))
    out = Console(width=None if terminal else 120, highlight=False)
    out.print(Panel(body, title=f"mediaserver {_version()}", title_align="left", expand=False))
    for made in state.made:
        out.print(f"first start: made {made}", markup=False)
    sys.stdout.flush()


def _print_bandwidth(report: Report, start: str, end: str) -> None:
    table = Table(title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.title = (
        f"{start} ({report.start_site or 'no site'}) to {end} ({report.end_site or 'no site'}), sound {report.codec}"
    )
    for heading in ("on the way", "kind", "budget", "a call at least", "charged", "calls that fit"):
        table.add_column(heading, overflow="fold", justify="left" if heading in ("on the way", "kind") else "right")
    for line in report.lines:
        table.add_row(
            line.hop,
            line.kind,
            "no bound" if line.budget is None else format_bitrate(line.budget),
            format_bitrate(line.least_per_call),
            format_bitrate(line.charged),
            "any number" if line.fits is None else str(line.fits),
        )
    out = console()
    out.print(table)
    if not report.lines:
        out.print("No site and no trunk with a budget lies on the way.")
    outcomes = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in report.outcomes.items())
    out.print(f"\nCalls: {outcomes}", markup=False)
    if report.limits:
        out.print(f"Too narrow: {', '.join(report.limits)}", markup=False)


def _pairs(given: list[str] | None, option: str) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in given or []]
    if any(not equals for _, equals, _ in pairs):
        raise typer.BadParameter("expected NAME=VALUE", param_hint=option)
    return [(name, value) for name, _, value in pairs]


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("expected a moment like 2026-12-24T08:30+01:00", param_hint="--at") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _print_route(found: Explanation) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("line", "leads to", "why"):
        table.add_column(heading, overflow="fold")
    for step in found.steps:
        why = "; ".join(step.reasons) or ("decides" if step.decides else "matches too, comes later")
        table.add_row(step.rule, step.target, why)
    out = console()
    out.print(f"called {found.called or '-'}, by {found.caller or 'an anonymous caller'}", markup=False)
    out.print(table)
    if found.goes_to is None:
        out.print("Nothing matches: the call is refused with 404.")
        return
    out.print(f"Goes to {found.goes_to}, by {found.rule}.", markup=False)
    if found.written is not None:
        out.print(f"The trunk is sent {found.written}.", markup=False)
    if found.refused is not None:
        out.print(f"The trunk may not call it: {found.refused}.", markup=False)
    if found.then:
        out.print(f"If there is no room: {', '.join(found.then)}.", markup=False)


def _check_secrets(loaded: Loaded, *, first_start: bool) -> None:
    store = SecretStore(loaded.config, environment=os.environ)
    found = [loaded.source.problem(path, message) for path, message in store.problems(first_start=first_start)]
    if found:
        fail_with(InvalidConfig(found))


def _check_certificates(loaded: Loaded) -> None:
    try:
        found = [loaded.source.problem(path, message) for path, message in covering_problems(loaded.config)]
    except ConfigError as error:
        fail(str(error), code=EX_CONFIG)
    if found:
        fail_with(InvalidConfig(found))


def _version() -> str:
    try:
        return installed_version("mediaserver")
    except PackageNotFoundError:
        return "(not installed)"
