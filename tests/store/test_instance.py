"""The daemon's own name: the same over restarts, made anew only where it is missing or broken."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from mediaserver.store.instance import instance_urn


def test_it_is_made_once_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "state" / "sip-instance"
    made = instance_urn(path)
    assert made == UUID(made).urn
    assert instance_urn(path) == made
    assert [file.name for file in path.parent.iterdir()] == ["sip-instance"]


@pytest.mark.parametrize("content", [b"", b"not a uuid\n", b"\xff\xfe"])
def test_what_is_broken_is_made_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sip-instance"
    path.write_bytes(content)
    made = instance_urn(path)
    assert instance_urn(path) == made


def test_two_daemons_differ(tmp_path: Path) -> None:
    assert instance_urn(tmp_path / "a") != instance_urn(tmp_path / "b")
