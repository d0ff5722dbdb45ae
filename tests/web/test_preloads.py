"""Pages name every module that they begin with: a browser fetches them at once, and not one round trip after another."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

WEB = files("mediaserver") / "web"
IMPORTED = re.compile(r'^(?:import|export)\b[^;]*?\bfrom "\./([\w.]+)";|^import "\./([\w.]+)";', re.MULTILINE)


def imported(name: str) -> set[str]:
    text = (WEB / name).read_text()
    return {first or second for first, second in IMPORTED.findall(text)}


def needed(name: str) -> set[str]:
    """All that a module imports, and all that those import."""
    found: set[str] = set()
    open_ = {name}
    while open_:
        fresh = imported(open_.pop()) - found
        found |= fresh
        open_ |= fresh
    return found


@pytest.mark.parametrize("page", ["agent.html", "call.html", "room.html"])
def test_a_page_preloads_the_modules_of_its_script(page: str) -> None:
    html = (WEB / page).read_text()
    (script,) = re.findall(r'<script type="module" src="\{\{prefix\}\}/web/([\w.]+)">', html)
    preloaded = re.findall(r'<link rel="modulepreload" href="\{\{prefix\}\}/web/([\w.]+)">', html)
    assert sorted(preloaded) == sorted(needed(script))
