"""Commands about Edge and Core: what firewalls must allow, who this machine is on the link, whether the link works."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Literal

import typer
from rich.table import Table

from mediaserver.command_line import (
    DEFAULT_FILE,
    EX_CONFIG,
    ConfigOption,
    JsonOption,
    StateOption,
    console,
    fail,
    loaded_or_exit,
)
from mediaserver.config.firewall import NOTHING_INWARDS, TITLES, Opening, openings
from mediaserver.config.state import open_state
from mediaserver.errors import ConfigError

app = typer.Typer()
_MARKS = {"good": "good", "bad": "BAD ", "unknown": "?   ", "note": "note"}


@app.command()
def ports(
    config: ConfigOption = DEFAULT_FILE,
    state_dir: StateOption = None,
    role: Annotated[
        Literal["edge", "core"] | None,
        typer.Option(
            help="Of which machine the file is; a file that has both is told as this one alone would need it."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print what firewalls must allow, in front of this machine and behind it."""
    settings = loaded_or_exit(config, state_dir).config
    if role is not None and settings.role not in (role, "all"):
        fail(
            f"{config} has role: {settings.role}: `ports --role {role}` reads the file of the {role.capitalize()}",
            code=EX_CONFIG,
        )
    settings = settings.model_copy(update={"role": role or settings.role})
    rules = list(openings(settings))
    if as_json:
        typer.echo(json.dumps({"role": settings.role, "allow": [asdict(rule) for rule in rules]}, indent=2))
        return
    out = console()
    for firewall, title in TITLES[settings.role].items():
        out.print(_table(title, (rule for rule in rules if rule.firewall == firewall)))
    if settings.role != "all":
        out.print(NOTHING_INWARDS)


@app.command("link-certificate")
def link_certificate(config: ConfigOption = DEFAULT_FILE, state_dir: StateOption = None) -> None:
    """Print the certificate that this machine shows on the link, for the configuration of the other end."""
    from mediaserver.daemon.link_identity import own_certificate  # the other commands start faster

    settings = loaded_or_exit(config, state_dir).config
    try:
        open_state(settings)
        chain, _ = own_certificate(settings)
    except (ConfigError, OSError) as error:
        fail(str(error), code=EX_CONFIG)
    typer.echo(chain.decode(), nl=False)


@app.command("check-link")
def check_link(
    config: ConfigOption = DEFAULT_FILE,
    state_dir: StateOption = None,
    as_json: JsonOption = False,
    outside: Annotated[
        bool,
        typer.Option("--outside", help="Try the ports of the Edge of this file as visitors do, from another machine."),
    ] = False,
) -> None:
    """Try what this Edge or Core needs of firewalls, certificates and DNS, and say what is blocked and what would be right.

    Exit code 0: all of it is good, or noted as what only a call can try; 1: something is not good, or cannot be told.
    """
    from mediaserver.daemon.caa import REMAINING_TRUST, asker  # the other commands start faster
    from mediaserver.daemon.finding import Finding
    from mediaserver.daemon.link_check import findings

    settings = loaded_or_exit(config, state_dir).config
    if settings.role == "all":
        fail(
            f"{config} has role: all, which has no link: `check-link` is for role: edge and role: core", code=EX_CONFIG
        )

    if outside and settings.role != "edge":
        fail(f"{config} has role: {settings.role}: `check-link --outside` reads the file of an Edge", code=EX_CONFIG)

    async def collect() -> list[Finding]:
        ask = asker(settings.dns.servers, timeout_s=settings.dns.timeout)
        return [finding async for finding in findings(settings, ask_caa=ask, outside=outside)]

    try:
        found = asyncio.run(collect())
    except ConfigError as error:
        fail(str(error), code=EX_CONFIG)
    if as_json:
        plain = {
            "role": settings.role,
            "findings": [asdict(each) for each in found],
            "remaining_trust": REMAINING_TRUST,
        }
        typer.echo(json.dumps(plain, indent=2))
    else:
        out = console()
        for each in found:
            out.print(f"{_MARKS[each.state]} {each.what}: {each.said}", markup=False)
            if each.right:
                out.print(f"     right would be: {each.right}", markup=False)
        out.print(REMAINING_TRUST, markup=False)
    raise typer.Exit(0 if all(each.state in ("good", "note") for each in found) else 1)


def _table(title: str, rules: Iterable[Opening]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("from", "to", "protocol", "port", "what for"):
        table.add_column(heading, overflow="fold")
    for rule in rules:
        table.add_row(rule.source, rule.address, rule.protocol, rule.ports, rule.purpose)
    return table
