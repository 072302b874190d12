"""One value that a JSON schema accepts, always the same: what structured answers and tool arguments are made of."""

from collections.abc import Mapping
from typing import Any, Final

_DEPTH: Final = 12
_STRINGS: Final = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "email": "someone@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
}
_TEXT: Final = "simulated"
_COMBINED: Final = ("anyOf", "oneOf")


def instance(schema: Mapping[str, Any]) -> Any:  # noqa: ANN401  a JSON value
    """Return a value that meets `schema`: types, enum, const, $ref, allOf, anyOf, formats, and bounds.

    Patterns, conditions and the rest of the vocabulary are not looked at. A schema that contains itself ends where it
    may be null or empty.
    """
    return _value(schema, schema, 0)


def _value(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:  # noqa: ANN401
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for word in _COMBINED:
        if schema.get(word):
            return _value(_alternative(schema[word], depth), root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kind, list):
        kind = "null" if depth > _DEPTH and "null" in kind else kind[0]
    if kind == "object":
        return _object(schema, root, depth)
    if kind == "array":
        return _array(schema, root, depth)
    return _scalar(kind, schema)


def _alternative(alternatives: list[Mapping[str, Any]], depth: int) -> Mapping[str, Any]:
    empty = [each for each in alternatives if each.get("type") == "null"]
    return empty[0] if empty and depth > _DEPTH else alternatives[0]


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow references within the document and merge `allOf`; what cannot be found accepts anything."""
    for _ in range(_DEPTH):
        if "$ref" not in schema:
            break
        found: Any = root
        for step in str(schema["$ref"]).removeprefix("#").strip("/").split("/"):
            found = found.get(step, {}) if step and isinstance(found, Mapping) else found
        schema = {**found, **{word: value for word, value in schema.items() if word != "$ref"}}
    merged = dict(schema)
    for part in merged.pop("allOf", ()):
        inner = _resolved(part, root)
        properties = {**merged.get("properties", {}), **inner.get("properties", {})}
        merged |= {**inner, **({"properties": properties} if properties else {})}
    return merged


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    wanted = schema.get("required", ()) if depth > _DEPTH else properties
    if depth > 2 * _DEPTH:
        return {}
    return {name: _value(properties.get(name, {}), root, depth + 1) for name in wanted}


def _array(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> list[Any]:
    count = max(schema.get("minItems", 0), 0 if depth > _DEPTH else min(1, schema.get("maxItems", 1)))
    if depth > 2 * _DEPTH:
        return []
    heads = schema.get("prefixItems", [])
    items = [_value(each, root, depth + 1) for each in heads]
    rest = schema.get("items")
    filler = rest if isinstance(rest, Mapping) else {}
    return items + [_value(filler, root, depth + 1) for _ in range(count - len(items))]


def _scalar(kind: Any, schema: Mapping[str, Any]) -> Any:  # noqa: ANN401
    if kind == "null":
        return None
    if kind == "boolean":
        return True
    if kind in {"integer", "number"}:
        return _number(kind, schema)
    text = _STRINGS.get(schema.get("format", ""), _TEXT)
    text += "x" * (schema.get("minLength", 0) - len(text))
    return text[: schema.get("maxLength", len(text))]


def _number(kind: str, schema: Mapping[str, Any]) -> float:
    lowest = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
    highest = schema.get("maximum", schema.get("exclusiveMaximum", lowest + 2) - 1)
    value: float = min(max(1, lowest), highest)
    step = schema.get("multipleOf")
    if step:
        value = -(-value // step) * step
    return int(value) if kind == "integer" else value
