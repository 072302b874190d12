import pytest

from loadtests.simulator.schema import instance


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "simulated"),
        ({"type": "string", "maxLength": 3}, "sim"),
        ({"type": "string", "minLength": 11}, "simulatedxx"),
        ({"type": "string", "format": "date"}, "2026-01-02"),
        ({"type": "integer"}, 1),
        ({"type": "integer", "minimum": 5, "maximum": 9}, 5),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
        ({"type": "number", "exclusiveMaximum": 1}, 0),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["string", "null"]}, "simulated"),
        ({"enum": ["red", "blue"]}, "red"),
        ({"const": 7}, 7),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
        ({"type": "array", "items": {"type": "integer"}}, [1]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"type": "array", "maxItems": 0}, []),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}]}, [1, True]),
        ({"type": "object"}, {}),
        ({"properties": {"a": {"type": "integer"}, "b": {}}}, {"a": 1, "b": "simulated"}),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}], "type": "object"},
         {"b": 2, "a": 1}),
        ({}, "simulated"),
    ],
)  # fmt: skip
def test_a_value_meets_its_schema(schema: dict, value: object) -> None:
    assert instance(schema) == value


def test_references_are_followed_within_the_document() -> None:
    schema = {"$defs": {"City": {"type": "object", "properties": {"name": {"type": "string"}}}}, "$ref": "#/$defs/City"}
    assert instance(schema) == {"name": "simulated"}
    assert instance({"$ref": "#/nowhere"}) == "simulated"


@pytest.mark.parametrize(
    "node",
    [
        {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}}},
        {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}},
        {"type": "array", "items": {"$ref": "#/$defs/Node"}},
        {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}, "required": ["next"]},
        {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Node"}},
        {"type": ["object", "null"], "properties": {"next": {"$ref": "#/$defs/Node"}}, "required": ["next"]},
        {"$ref": "#/$defs/Node"},
    ],
)
def test_a_schema_that_contains_itself_ends(node: dict) -> None:
    found, depth = instance({"$defs": {"Node": node}, "$ref": "#/$defs/Node"}), 0
    while isinstance(found, (dict, list)) and found:
        found = found[0] if isinstance(found, list) else found["next"]
        depth += 1
    assert depth < 100
