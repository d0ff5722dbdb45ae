"""Writes `config/mediaserver.yaml` and `config/schema.json` from the models, so that all three say the same.

`python -m mediaserver.config.document FOLDER` is what `make schema` runs.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mediaserver.config.model import Config
from mediaserver.config.sections import (
    Announcement,
    Entry,
    SecretRef,
    Section,
    Target,
    User,
)

_WIDTH = 112
_PLAIN = re.compile(r"[A-Za-z0-9.][A-Za-z0-9 ./_:-]*")
_NUMBER = re.compile(r"[0-9.]+")

_HEAD = """\
# mediaserver: every key with its default. Written by `make schema`; your own copy needs only what differs.
# `mediaserver check-config --config FILE` names every mistake with its line; `config/schema.json` is for editors.
# Durations: 500ms 30s 5min 2h 7d. Sizes: 512 B, 64 KiB, 1 MiB. Rates: 20/s 600/min.
# Secrets never stand here: {file: PATH} (readable by its owner only), {env: NAME}, or {state: NAME} (made at random
# on first start under state_dir).
"""

_EXAMPLES = {
    "networks": """\
  # inside:
  #   addresses: [{bind: 10.0.0.5}]
  #   cidrs: [10.0.0.0/8]
  # outside:
  #   addresses: [{bind: 192.0.2.5, announced: 203.0.113.5}]
""",
    "trunks": """\
  # pbx:
  #   peers: [10.0.0.10, 10.0.1.0/28]
  #   target: sip:10.0.0.10:5060
  #   srtp: prefer
  #   audio_codecs: [G722, PCMA]
  #   video_codecs: [H264]
  #   max_calls: 100
  # carrier:
  #   target: sip:carrier.example
  #   transport: tls
  #   credentials: {user: "4930123", secret: {file: /etc/mediaserver/carrier.secret}}
  #   registration: {expires: 10min}
  #   keep_alive: {interval: 30s, failures: 2}
  #   calls_per_second: 10/s
  #   numbers: {region: DE, incoming: e164, called: e164, caller: e164, own: "+4930123", countries: [DE, AT, CH]}
  #   headers: {fixed: {X-Customer: "4711"}, copied: [X-Ticket]}
  #   identity: {incoming: trusted, outgoing: asserted, user_to_user: ticket}
""",
    "routes": """\
  # - match: {trunk: pbx, called: "49*", time: {days: [mon, tue, wed, thu, fri], start: 08:00, end: 18:00,
  #     timezone: Europe/Berlin}}
  #   to: {group: sales}
  # - match: {trunk: pbx, headers: {X-Priority: high}}
  #   to: {user: agent}
  # - match: {trunk: pbx}
  #   to: {announcement: greeting}
  # - match: {called: "700"}
  #   to: {room: stage}
  # - match: {called: "0*"}
  #   to: {trunk: pbx}
  # - to: {refuse: 404}
""",
    "groups": """\
  # sales:
  #   members: [agent]
  #   ring: serial
  #   each: 15s
  #   otherwise: {announcement: greeting}
""",
    "webhooks": """\
  # crm:
  #   url: https://crm.example.org/route
  #   secret: {file: /etc/mediaserver/crm.key}
  #   timeout: 1500ms
  #   fallback: {group: sales}
""",
    "sites": """\
  # centre:
  #   cidrs: [10.0.0.0/16]
  #   here: true
  # munich:
  #   cidrs: [10.1.0.0/16, 2001:db8:1::/48]
  #   budget: {audio: 2 Mbit/s, video: 10 Mbit/s, screen: 4 Mbit/s}
  #   per_call: {video: 1 Mbit/s}
  #   links:
  #     centre: {cost: 1, budget: {video: 20 Mbit/s}}
""",
    "*.webhooks": """\
    # crm:
    #   url: https://crm.example.org/events
    #   secrets: [{file: /etc/mediaserver/crm-events.key}]
    #   types: [contact.*, call.answered]
""",
    "*.site_keys": """\
    # portal-2026: {file: /etc/mediaserver/portal.key}
""",
}


def shipped() -> Config:
    """The configuration that ships: the defaults, with the demo's user, entry and greeting."""
    return Config(
        users={"agent": User(display_name="Demo agent", secret=SecretRef(state="agent-password"))},
        entries={"demo": Entry(to=Target(user="agent"), announcement="greeting")},
        announcements={"greeting": Announcement()},
    )


def yaml_text() -> str:
    """The text of `config/mediaserver.yaml`."""
    return _HEAD + "".join(_section(shipped(), indent=0))


def schema() -> dict[str, Any]:
    """The JSON schema (2020-12) of the configuration file, with defaults in the form that the file has."""
    made = Config.model_json_schema()
    _write_defaults(made, Config)
    for model in _sections(Section):
        if model.__name__ in made["$defs"]:
            _write_defaults(made["$defs"][model.__name__], model)
    _close_maps(made)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def schema_text() -> str:
    """The text of `config/schema.json`."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _close_maps(node: Any) -> None:
    """Names that do not match the pattern of a named map are mistakes for an editor, too."""
    if isinstance(node, dict):
        if "patternProperties" in node:
            node["additionalProperties"] = False
        for child in node.values():
            _close_maps(child)
    elif isinstance(node, list):
        for child in node:
            _close_maps(child)


def _sections(base: type[Section]) -> Iterator[type[Section]]:
    for section in base.__subclasses__():
        yield section
        yield from _sections(section)


def _write_defaults(entry: dict[str, Any], model: type[Section]) -> None:
    for name, field in model.model_fields.items():
        about = entry["properties"][name]
        about.pop("title", None)
        if "description" in about:
            about["description"] = " ".join(about["description"].split())
        if not field.is_required():
            # Serialised as the file would write it: "30s" and not 30.0.
            about["default"] = model.model_construct().model_dump(mode="json", include={name})[name]


def _section(section: Section, *, indent: int) -> Iterator[str]:
    pad = " " * indent
    plain = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if indent == 0 or (isinstance(value, Section) and not isinstance(value, SecretRef | Target)):
            yield "\n"
        yield from _comment(field.description or "", pad)
        yield from _entry(name, value, plain[name], indent)
        if isinstance(value, tuple | Mapping):
            yield _EXAMPLES.get(name if indent == 0 else f"*.{name}", "")


def _entry(name: str, value: object, plain: Any, indent: int) -> Iterator[str]:
    pad = " " * indent
    if isinstance(value, SecretRef | Target):
        yield f"{pad}{name}: {_inline({key: item for key, item in plain.items() if item is not None})}\n"
    elif isinstance(value, Section):
        yield f"{pad}{name}:\n"
        yield from _section(value, indent=indent + 2)
    elif isinstance(value, Mapping) and value:
        yield f"{pad}{name}:\n"
        for key, item in value.items():
            yield f"{pad}  {key}:\n"
            yield from _section(item, indent=indent + 4)
    elif isinstance(value, tuple) and value and isinstance(value[0], Section):
        yield f"{pad}{name}:\n"
        for item in value:
            lines = "".join(_section(item, indent=indent + 4)).splitlines(keepends=True)
            first = next(index for index, line in enumerate(lines) if not line.lstrip().startswith("#"))
            # The comment of the first key stands above the dash.
            yield from (line[2:] for line in lines[:first])
            yield f"{pad}  - {lines[first].lstrip()}"
            yield from lines[first + 1 :]
    else:
        yield f"{pad}{name}: {_inline(plain)}\n"


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(item) for item in value) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and not _NUMBER.fullmatch(value) and ": " not in value:
        return value
    return json.dumps(value)


def _comment(text: str, pad: str) -> Iterator[str]:
    for line in textwrap.wrap(" ".join(text.split()), _WIDTH - len(pad)):
        yield f"{pad}# {line}\n"


def main(folder: str) -> None:
    """Write both files into `folder`."""
    Path(folder, "mediaserver.yaml").write_text(yaml_text(), encoding="utf-8")
    Path(folder, "schema.json").write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
