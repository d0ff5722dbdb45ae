"""Reads the YAML file: every problem at once, each with file, line, column, key path and what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mediaserver.config import references
from mediaserver.config.model import Config
from mediaserver.config.references import KeyPath
from mediaserver.errors import ConfigError
from mediaserver.runtime.log import names_secret

_MAX_DEPTH = 32


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong; `line` and `column` count from 1, 0 is unknown."""

    file: str
    line: int
    column: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class InvalidConfig(ConfigError):
    """The file cannot be used; `problems` are all of them, in the order of the file."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True, slots=True)
class Source:
    """Where each key of a loaded file stands."""

    file: str
    marks: Mapping[KeyPath, tuple[int, int]]

    def problem(self, path: KeyPath, message: str) -> Problem:
        """A problem at `path`; a key that is not in the file is placed at the nearest one above it that is."""
        line, column = 0, 0
        for length in range(len(path), -1, -1):
            if path[:length] in self.marks:
                line, column = self.marks[path[:length]]
                break
        return Problem(self.file, line, column, key_text(path), message)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration and where its keys stand."""

    config: Config
    source: Source


def key_text(path: KeyPath) -> str:
    """`("routes", 0, "to")` -> `routes[0].to`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def load(path: Path) -> Loaded:
    """Read `path`. Raises `InvalidConfig` with every problem found."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidConfig([Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte {error.start})"
        raise InvalidConfig([Problem(str(path), 0, 0, "", message)]) from None
    return load_text(text, file=str(path))


def load_text(text: str, *, file: str = "<config>") -> Loaded:
    """The same for text that is in memory already; `file` is the name in errors."""
    reader = _Reader(file)
    data = reader.read(text)
    source = Source(file, reader.marks)
    found = list(reader.problems)
    if data is None:
        raise InvalidConfig(found)
    config: Config | None = None
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        found += [_describe(source, data, detail) for detail in error.errors(include_url=False) if _counts(detail)]
    found += [source.problem(where, message) for where, message in references.problems(data)]
    if found or config is None:
        raise InvalidConfig(found)
    return Loaded(config, source)


class _Yaml(yaml.SafeLoader):
    """YAML 1.2's plain scalars: `on`, `no` and `12:30` stay text, as everybody expects."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - PyYAML's own shape


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Yaml.add_implicit_resolver(tag, re.compile(pattern), list(first))


_resolve("tag:yaml.org,2002:null", r"^(~|null|Null|NULL|)$", "~nN")
_Yaml.yaml_implicit_resolvers.setdefault("", []).extend(_Yaml.yaml_implicit_resolvers["~"])
_resolve("tag:yaml.org,2002:bool", r"^(true|True|TRUE|false|False|FALSE)$", "tTfF")
_resolve("tag:yaml.org,2002:int", r"^[-+]?(0|[1-9][0-9]*)$", "-+0123456789")
_resolve("tag:yaml.org,2002:float", r"^[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?$", "-+.0123456789")


class _Reader:
    """Turns YAML nodes into plain values (lists become tuples) and remembers where each key stands."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.marks: dict[KeyPath, tuple[int, int]] = {}
        self.problems: list[Problem] = []

    def read(self, text: str) -> dict[str, Any] | None:
        """The mapping at the top of the document, or None where there is nothing to check further."""
        try:
            node = yaml.compose(text, Loader=_Yaml)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
            self.problems.append(Problem(self._file, *place, "", f"is not YAML: {error.problem or error.context}"))
            return None
        except yaml.YAMLError as error:
            self.problems.append(Problem(self._file, 0, 0, "", f"is not YAML: {str(error).splitlines()[0]}"))
            return None
        if node is None or (isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")):
            return {}
        value = self._value(node, (), 0)
        if not isinstance(value, dict):
            self._problem((), node, "expected a mapping with the sections of the configuration")
            return None
        return value

    def _problem(self, path: KeyPath, node: yaml.Node, message: str) -> None:
        mark = node.start_mark
        self.problems.append(Problem(self._file, mark.line + 1, mark.column + 1, key_text(path), message))

    def _value(self, node: yaml.Node, path: KeyPath, depth: int) -> Any:
        # Marks of the values; a mapping's keys overwrite them with their own place below.
        self.marks.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
        if depth > _MAX_DEPTH:
            self._problem(path, node, "is nested too deeply, or an alias that contains itself")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return tuple(self._value(item, (*path, index), depth + 1) for index, item in enumerate(node.value))
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(path, key_node, "expected a name before the colon")
                continue
            # The text as written: an extension like 0815 is a name, whatever else it may be.
            key = str(key_node.value)
            here = (*path, key)
            if key in values:
                first = self.marks[here][0]
                self._problem(here, key_node, f"stands here a second time (first in line {first}): keep one")
                continue
            self.marks[here] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            values[key] = self._value(value_node, here, depth + 1)
        return values

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        text = str(node.value)
        kind = node.tag.rpartition(":")[2] if node.tag.startswith("tag:yaml.org,2002:") else node.tag
        match kind:
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text)
            case "float":
                return float(text)
        self._problem(path, node, f"the tag {node.tag} means nothing here: write a plain value")
        return None


def _counts(error: ErrorDetails) -> bool:
    # A list whose items are all wrong counts as empty for pydantic; the items have been told already.
    return not (error["type"] == "too_short" and error["input"])


def _describe(source: Source, data: Mapping[str, Any], error: ErrorDetails) -> Problem:
    path = _known_path(data, error["loc"], missing=error["type"] == "missing")
    message = _message(error, path)
    return source.problem(path, message)


def _known_path(data: object, loc: tuple[int | str, ...], *, missing: bool) -> KeyPath:
    """The part of pydantic's location that exists in the file; tags of unions and validators drop out."""
    path: list[str | int] = []
    here: Any = data
    for part in loc:
        in_list = isinstance(here, tuple) and isinstance(part, int) and part < len(here)
        if in_list or (isinstance(here, Mapping) and part in here):
            path.append(part)
            here = here[part]
    if missing:
        path.append(loc[-1])
    return tuple(path)


_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a mapping (lines of `key: value`)",
    "dict_type": "a mapping (lines of `key: value`)",
    "mapping_type": "a mapping (lines of `key: value`)",
    "model_attributes_type": "a mapping (lines of `key: value`)",
}


def _message(error: ErrorDetails, path: KeyPath) -> str:
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    found = _found(value, path)
    match kind:
        case "extra_forbidden":
            return _unknown_key(path)
        case "missing":
            about = _schema_at(path).get("description", "")
            return f"is missing: {about}" if about else "is missing"
        case "value_error":
            return f"{context['error']}{found if isinstance(value, (str, int, float)) else ''}"
        case "literal_error":
            return f"expected {context['expected']}{found}{_close(value, context['expected'])}"
        case "string_pattern_mismatch":
            about = _schema_at(path).get("description", "").rstrip(".")
            wanted = f"expected text that matches {context['pattern']}"
            return f"{wanted}{found}{f' ({about})' if about else ''}"
        case "too_short":
            return f"needs at least {context['min_length']} item(s){found}"
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
            bound = next(f"{words[key]} {number:g}" for key, number in context.items() if key in words)
            return f"must be {bound}{found}"
    if kind in ("model_type", "dict_type", "model_attributes_type") and names_secret(path[-1] if path else ""):
        return "expected {file: PATH}, {env: NAME} or {state: NAME}; a secret itself never stands in this file"
    if kind == "string_type" and isinstance(value, (int, float)):
        return f"expected text{found}: put it in quotes"
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}{found}"
    return f"{error['msg']}{found}"


def _found(value: object, path: KeyPath) -> str:
    if any(names_secret(part) for part in path):
        return ""
    if value is None:
        return ", found nothing"
    if isinstance(value, bool):
        return f", found {str(value).lower()}"
    if isinstance(value, (int, float, str)):
        text = str(value)
        return f", found {text if len(text) <= 60 else text[:57] + '...'}"
    return (
        f", found {'a list' if isinstance(value, tuple) else 'a mapping'}" if isinstance(value, (tuple, dict)) else ""
    )


def _close(value: object, expected: str) -> str:
    options = [option.strip("' ") for option in expected.replace(" or ", ", ").split(",")]
    close = get_close_matches(str(value), options, n=1, cutoff=0.5)
    same = [option for option in options if option.lower() == str(value).lower()]
    best = same or close
    return f"; did you mean {best[0]}?" if best else ""


def _unknown_key(path: KeyPath) -> str:
    known = list(_schema_at(path[:-1]).get("properties", {}))
    close = get_close_matches(str(path[-1]), known, n=1, cutoff=0.6)
    if close:
        return f"there is no such key; did you mean {close[0]}?"
    return f"there is no such key; known here: {', '.join(known)}"


def _schema_at(path: KeyPath) -> dict[str, Any]:
    """The JSON schema of the value at `path`; empty where there is none."""
    schema = _schema()
    here: dict[str, Any] = schema
    for part in path:
        here = next(_children(schema, here, part), {})
    about = here.get("description")
    resolved = _follow(schema, here)
    return {**resolved, "description": about} if about else resolved


@cache
def _schema() -> dict[str, Any]:
    return Config.model_json_schema()


def _children(schema: Mapping[str, Any], here: dict[str, Any], part: str | int) -> Iterator[dict[str, Any]]:
    for option in (here, *here.get("anyOf", ())):
        found = _follow(schema, option)
        if isinstance(part, int):
            child = found.get("items")
        else:
            items = found.get("additionalProperties") or next(iter(found.get("patternProperties", {}).values()), None)
            child = found.get("properties", {}).get(part) or items
        if isinstance(child, dict):
            yield child


def _follow(schema: Mapping[str, Any], here: dict[str, Any]) -> dict[str, Any]:
    reference = here.get("$ref")
    if isinstance(reference, str):
        found: dict[str, Any] = schema["$defs"][reference.rpartition("/")[2]]
        return found
    return here
