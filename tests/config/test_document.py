"""The YAML file, the models and the JSON schema say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from mediaserver.config import document
from mediaserver.config.loader import load
from mediaserver.config.model import Config


def test_the_shipped_file_is_what_the_models_say(project_root: Path) -> None:
    assert (project_root / "config/mediaserver.yaml").read_text() == document.yaml_text(), "run `make schema`"


def test_the_shipped_schema_is_what_the_models_say(project_root: Path) -> None:
    assert json.loads((project_root / "config/schema.json").read_text()) == document.schema(), "run `make schema`"


def test_the_shipped_file_loads_as_the_defaults_with_the_demo(project_root: Path) -> None:
    config = load(project_root / "config/mediaserver.yaml").config
    assert config == document.shipped()
    demo = {"users", "entries", "announcements"}
    assert config.model_dump(exclude=demo) == Config().model_dump(exclude=demo)


def test_the_shipped_file_shows_every_key(project_root: Path) -> None:
    shown = yaml.safe_load((project_root / "config/mediaserver.yaml").read_text())

    def check(model: Any, values: dict[str, Any], where: str) -> None:
        for name, field in model.model_fields.items():
            assert name in values, f"{where}{name} is not shown"
            if hasattr(field.annotation, "model_fields") and isinstance(values[name], dict) and len(values[name]) > 1:
                check(field.annotation, values[name], f"{where}{name}.")

    check(Config, shown, "")


def test_the_commented_examples_are_good_too(tmp_path: Path) -> None:
    text = document.yaml_text()
    for section in ("trunks: {}", "routes: []", "groups: {}", "webhooks: {}", "sites: {}"):
        head, _, rest = text.partition(f"\n{section}\n")
        example = re.match(r"(?:  #.*\n)+", rest)
        assert example is not None
        opened = section.split(":")[0]
        text = f"{head}\n{opened}:\n{example[0].replace('  # ', '  ')}{rest[example.end() :]}"
    file = tmp_path / "examples.yaml"
    file.write_text(text)
    config = load(file).config
    assert [len(config.trunks), len(config.routes), len(config.sites)] == [2, 6, 2]
    assert [len(config.groups), len(config.webhooks)] == [1, 1]


def test_every_key_is_described() -> None:
    schema = document.schema()
    sections = {"Config": schema, **schema["$defs"]}
    bare = [
        f"{name}.{key}"
        for name, section in sections.items()
        for key, about in section.get("properties", {}).items()
        # A reference whose own description is the same as the key's stands alone.
        if not about.get("description") and "$ref" not in about
    ]
    assert bare == []
