"""YAML and JSON, with the line of each key; bounded in size and depth, whatever is in it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from longwire.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

# The lines of the keys of a mapping, or of the items of a list, by the path that leads to it.
Lines: TypeAlias = dict[tuple[str, ...], dict[str, int]]

# CloudFormation takes 1 MB; Terraform's plans may be larger.
MOST_BYTES = 64 * 1024 * 1024
MOST_DEPTH = 100
MOST_NODES = 2_000_000  # with what aliases repeat
MOST_DIGITS = 100  # longer numbers are texts; Python is slow to read them, or refuses
# `Resources`, a resource, `Properties`, a property, and what is in it.
LINED_DEPTH = 6

# A string, a bracket, or what separates: all that tells where a key is.
_JSON_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,\n]')


class Document(NamedTuple):
    """What a file says, and where."""

    value: Any
    lines: Lines


class UnreadableError(ConfigurationError):
    """A file is no YAML or JSON, or more than can be read."""


def read_document(text: str, name: str) -> Document:
    """Read JSON, or YAML if it is none.

    Raises:
        UnreadableError: it is neither, or nests or repeats too much.
        ModuleNotFoundError: it is YAML, and PyYAML is not installed.
    """
    if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        try:
            return _read_json(text.lstrip("\ufeff"))
        except json.JSONDecodeError as error:
            if not name.lower().endswith((".yaml", ".yml", ".template")):
                raise UnreadableError(f"{name}:{error.lineno}: broken JSON: {error.msg}") from None
        except RecursionError:
            raise UnreadableError(f"{name}: nested too deeply for a template") from None
    return _read_yaml(text, name)


def _read_json(text: str) -> Document:
    value = json.loads(text, parse_int=_integer)
    lines: Lines = {}
    if "\n" in text.strip():  # all in one line, as tools print it, would say nothing
        for path, line in _json_lines(text):
            lines.setdefault(path[:-1], {})[path[-1]] = line
    return Document(value, lines)


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= MOST_DIGITS else digits


def line_at(lines: Lines, path: tuple[str, ...]) -> int | None:
    """Return the line of a key, or of an item."""
    return lines.get(path[:-1], {}).get(path[-1])


def _json_lines(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Find the line of each key, and of what is in lists."""
    line, path, last = 1, [], ""  # type: int, list[str], str
    counts: list[int] = []  # for each open bracket: the position in a list, or -1
    for found in _JSON_TOKENS.finditer(text):
        token = found[0]
        if token == "\n":
            line += 1
        elif token in "{[":
            counts.append(0 if token == "[" else -1)
            path.append("0" if token == "[" else "")
            if token == "[" and len(path) <= LINED_DEPTH:
                yield tuple(path), line
        elif token in "}]":
            counts.pop()
            path.pop()
        elif token == ":":
            path[-1] = last
            if len(path) <= LINED_DEPTH:
                yield tuple(path), line
        elif token == "," and counts[-1] >= 0:
            counts[-1] += 1
            path[-1] = str(counts[-1])
        elif token != "," and len(path) <= LINED_DEPTH:
            last = json.loads(token) if "\\" in token else token[1:-1]


class _Open(NamedTuple):
    """A collection whose end has not come."""

    value: Any  # a dict, or a list
    path: tuple[str, ...]
    tag: str | None
    anchor: str | None
    keys: list[Any]  # of a dict: the key whose value comes next
    size: list[int]  # nodes in it, with what aliases repeat


def _read_yaml(text: str, name: str) -> Document:
    import yaml

    # libyaml, where PyYAML was built with it, is ten times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        return _Reader(name).read(loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise UnreadableError(f"{name}{line}: broken YAML: {problem}") from None
    finally:
        loader.dispose()


class _Reader:
    """Makes values of YAML's events, one by one: nothing here calls itself."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._lines: Lines = {}
        self._root: list[Any] = []
        self._nodes = 0

    def read(self, loader: Any) -> Document:
        """Read the first document; a template is one."""
        import yaml

        while True:
            event = loader.get_event()
            match event:
                case yaml.ScalarEvent():
                    value = _scalar(loader, event)
                    self._add(value, event, event.anchor)
                case yaml.AliasEvent():
                    if event.anchor not in self._anchors:
                        raise self._error(event, f"the alias *{event.anchor} is not defined")
                    value, size = self._anchors[event.anchor]
                    self._add(value, event, None, size)
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    self._open(event, {} if isinstance(event, yaml.MappingStartEvent) else [])
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._close(event)
                case yaml.DocumentEndEvent() | yaml.StreamEndEvent():
                    break
        return Document(self._root[0] if self._root else None, self._lines)

    def _note(self, path: tuple[str, ...], event: Any) -> None:
        self._lines.setdefault(path[:-1], {}).setdefault(path[-1], event.start_mark.line + 1)

    def _error(self, event: Any, text: str) -> UnreadableError:
        return UnreadableError(f"{self._name}:{event.start_mark.line + 1}: {text}")

    def _open(self, event: Any, value: Any) -> None:
        if len(self._stack) >= MOST_DEPTH:
            raise self._error(event, "nested too deeply for a template")
        path = self._path(event)
        if path and isinstance(value, dict) and len(path) <= LINED_DEPTH:
            self._note(path, event)
        self._stack.append(_Open(value, path, event.tag, event.anchor, [], [1]))

    def _path(self, event: Any) -> tuple[str, ...]:
        if not self._stack:
            return ()
        top = self._stack[-1]
        if isinstance(top.value, list):
            return (*top.path, str(len(top.value)))
        if not top.keys:
            raise self._error(event, "a key of a mapping must be a text")
        return (*top.path, str(top.keys[-1]))

    def _close(self, event: Any) -> None:
        top = self._stack.pop()
        self._add(_tagged(top.tag, top.value), event, top.anchor, top.size[0], of_itself=False)

    def _add(
        self, value: Any, event: Any, anchor: str | None, size: int = 1, *, of_itself: bool = True
    ) -> None:
        if anchor:
            self._anchors[anchor] = (value, size)
        if of_itself:
            self._nodes += size
        if self._nodes > MOST_NODES or size > MOST_NODES:
            raise self._error(event, "its aliases repeat too much for a template")
        if not self._stack:
            self._root.append(value)
            return
        top = self._stack[-1]
        top.size[0] += size
        if isinstance(top.value, list):
            if len(top.path) < LINED_DEPTH and of_itself:
                path = (*top.path, str(len(top.value)))
                self._note(path, event)
            top.value.append(value)
        elif not top.keys:
            self._key(top, value, event)
        else:
            key = top.keys.pop()
            if key == "<<":
                _merge(top.value, value)
            else:
                top.value[key] = value

    def _key(self, top: _Open, key: Any, event: Any) -> None:
        if isinstance(key, dict | list):
            raise self._error(event, "a key of a mapping must be a text")
        key = str(getattr(event, "value", key))  # `On` is a name here, and not true
        if key in top.value and (not top.path or top.path[0] == "Resources") and len(top.path) < 2:
            raise self._error(event, f"{key!r} is there twice")
        top.keys.append(key)
        path = (*top.path, key)
        if len(path) <= LINED_DEPTH:
            self._note(path, event)


def _merge(into: dict[str, Any], value: Any) -> None:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            for key, inner in one.items():
                into.setdefault(key, inner)


def _scalar(loader: Any, event: Any) -> Any:
    """Return a scalar as YAML 1.1 reads it; dates stay texts, as with CloudFormation."""
    import yaml

    tag = event.tag
    if tag is not None and not tag.startswith("tag:yaml.org"):
        return _tagged(tag, event.value)
    if tag is None:
        tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
    kind = tag.rpartition(":")[2]
    node = yaml.ScalarNode(tag, event.value)
    if kind in ("int", "float", "bool", "null") and len(event.value) <= MOST_DIGITS:
        try:
            return getattr(loader, f"construct_yaml_{kind}")(node)
        except (ValueError, KeyError, yaml.YAMLError):
            return event.value
    return event.value


def _tagged(tag: str | None, value: Any) -> Any:
    """Write out CloudFormation's short forms, such as `!GetAtt Table.Arn`."""
    if tag is None or tag.startswith("tag:yaml.org") or not tag.startswith("!") or tag == "!":
        return value
    name = tag[1:]
    if name == "Ref" or name == "Condition":
        return {name: value}
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {f"Fn::{name}": value}
