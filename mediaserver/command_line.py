"""What all commands have in common: options, how they read the configuration, how they end where something is wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from mediaserver.config.loader import InvalidConfig, Loaded, load

EX_CONFIG = 78
"""sysexits.h: something was found in an unconfigured or misconfigured state."""
DEFAULT_FILE = Path("/etc/mediaserver/mediaserver.yaml")

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="MEDIASERVER_CONFIG", help="Configuration file.", metavar="FILE"),
]
StateOption = Annotated[
    Path | None,
    typer.Option("--state-dir", help="Takes the place of state_dir in the file.", metavar="FOLDER"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON in place of tables.")]


def loaded_or_exit(path: Path, state_dir: Path | None) -> Loaded:
    """The configuration; the command ends where it has mistakes, with all of them."""
    try:
        return read(path, state_dir)
    except InvalidConfig as error:
        fail_with(error)


def read(path: Path, state_dir: Path | None) -> Loaded:
    """The configuration. Raises InvalidConfig."""
    loaded = load(path)
    if state_dir is None:
        return loaded
    return Loaded(loaded.config.model_copy(update={"state_dir": state_dir}), loaded.source)


def fail_with(error: InvalidConfig) -> NoReturn:
    """End the command: every mistake, and how many there are."""
    count = len(error.problems)
    fail(f"{error}\n{count} mistake{'s' if count != 1 else ''}, nothing was started", code=EX_CONFIG)


def fail(text: str, *, code: int) -> NoReturn:
    """End the command."""
    typer.echo(text, err=True)
    raise typer.Exit(code)


def console() -> Console:
    """Not cut to a terminal's width where it goes to a file or another program."""
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)
