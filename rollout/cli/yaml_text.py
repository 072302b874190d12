"""YAML 1.2 as JSON has it: texts, numbers, true, false, null, lists, maps. Nothing else is read, nothing twice.

PyYAML reads YAML 1.1, where `on` is true, `09:30` a number in base sixty and `2026-01-01` a date. Here a word means
what the core schema of 1.2 says. Anchors are refused: what a document says stands where it is said.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import yaml

from rollout.core.errors import InvalidDocument

_HINT = "correct the file; nothing was sent"
_TAG = "tag:yaml.org,2002:"
_OTHER_BREAKS = re.compile("[\x85\u2028\u2029]")
_NUMBER = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
# kind, its words, and what they begin with; a whole number is one before it is a fraction
_WORDS = (
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")),
    ("float", re.compile(rf"^{_NUMBER}$"), list("-+.0123456789")),
)


def read_yaml(text: bytes) -> Any:  # noqa: ANN401  what YAML holds
    """Read one YAML document; InvalidDocument says line and column."""
    try:
        return yaml.load(text.decode("utf-8-sig"), Loader=_Loader)  # noqa: S506  it makes what JSON holds only
    except yaml.MarkedYAMLError as fault:
        at = fault.problem_mark or fault.context_mark
        place = f"line {at.line + 1}, column {at.column + 1}: " if at else ""
        raise InvalidDocument(f"{place}{fault.problem or fault.context}", _HINT) from fault
    except (yaml.YAMLError, ValueError, RecursionError) as fault:
        raise InvalidDocument(f"it is not YAML: {' '.join(str(fault).split())}", _HINT) from fault


def write_yaml(tree: Any) -> str:  # noqa: ANN401  as above
    """Write what JSON holds; keys keep their order. Readers of 1.1 and of 1.2 find the same in it."""
    text: str = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


class _Loader(yaml.SafeLoader):
    """Reads words by the core schema, and refuses all tags but those of JSON's kinds."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if event.anchor is not None:
            _refuse("anchors and aliases aren't supported", event.start_mark)
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401, ARG002, FBT001, FBT002  as in the base class
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._map(node)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.construct_object(each) for each in node.value]
        if isinstance(node, yaml.ScalarNode) and node.tag.startswith(_TAG):
            return _word(node)
        return _refuse(f"the tag {node.tag!r} isn't supported", node.start_mark)

    def _map(self, node: yaml.MappingNode) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node)
            if not isinstance(key, str):
                _refuse(f"the key {key!r} is no text", key_node.start_mark)
            if key in tree:
                _refuse(f"the key {key!r} appears twice in one object", key_node.start_mark)
            tree[key] = self.construct_object(value_node)
        return tree


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would take for something else than a text."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  as in the base class
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Write several lines as a block, as a query is read best, but for breaks that reading would make a plain one."""
    style = '"' if _OTHER_BREAKS.search(text) else "|" if "\n" in text else None
    return dumper.represent_scalar(f"{_TAG}str", text, style=style)


def _word(node: yaml.ScalarNode) -> Any:  # noqa: ANN401  null, a bool, a number or a text
    kind, text = node.tag.removeprefix(_TAG), node.value
    if kind == "str":
        return text
    if not any(kind == name and pattern.match(text) for name, pattern, _ in _WORDS):
        _refuse(f"{text!r} is no {kind}", node.start_mark)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    return float(text) if kind == "float" else _whole(text)


def _whole(text: str) -> int:
    for prefix, base in (("0o", 8), ("0x", 16)):
        if text.startswith(prefix):
            return int(text[2:], base)
    return int(text)


def _refuse(cause: str, mark: yaml.Mark) -> NoReturn:
    raise yaml.constructor.ConstructorError(None, None, cause, mark)


_Loader.yaml_implicit_resolvers = {}  # the base class has those of 1.1; the Dumper heeds both
_Dumper.add_representer(str, _text)
for _name, _pattern, _first in _WORDS:
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(f"{_TAG}{_name}", _pattern, _first)
