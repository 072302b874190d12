import pytest
from msgspec import Raw

from gateway.core.errors import ApiError
from gateway.core.providers import slices


def test_members_that_say_nothing_are_absent() -> None:
    assert slices.members(Raw(b'{"a":null,"b":1}'), "x") == {"b": Raw(b"1")}


def test_items_and_values() -> None:
    assert slices.items(Raw(b"[1, 2]"), "x") == [Raw(b"1"), Raw(b"2")]
    assert slices.text(Raw(b'"a"'), "x") == "a"
    assert slices.number(Raw(b"1.5"), "x") == 1.5
    assert [slices.boolean(raw, "x") for raw in (Raw(b"true"), Raw(b"false"), None)] == [True, False, False]


@pytest.mark.parametrize(
    ("read", "raw"),
    [
        (slices.members, b"[]"),
        (slices.items, b"{}"),
        (slices.text, b"1"),
        (slices.text, b'"\xff"'),
        (slices.number, b'"1"'),
        (slices.number, b"true"),
        (slices.boolean, b"1"),
    ],
)
def test_wrong_types_are_named(read: object, raw: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        read(Raw(raw), "tools[0].name")
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "tools[0].name", "invalid_type")


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ApiError) as caught:
        slices.text(None, "messages[1].role")
    assert (caught.value.param, caught.value.code) == ("messages[1].role", "missing_required_parameter")


def test_a_member_without_translation_is_refused() -> None:
    slices.refuse_others({"a": Raw(b"1")}, frozenset({"a"}), "x", "here")
    with pytest.raises(ApiError) as caught:
        slices.refuse_others({"a": Raw(b"1"), "b" * 500: Raw(b"1")}, frozenset({"a"}), "x", "here")
    assert caught.value.code == "unsupported_by_upstream"
    assert caught.value.param == "x." + "b" * 118


@pytest.mark.parametrize(("raw", "null", "text"), [(b"null", True, False), (b'""', False, True), (b"1", False, False)])
def test_what_a_slice_is(*, raw: bytes, null: bool, text: bool) -> None:
    assert (slices.is_null(Raw(raw)), slices.is_text(Raw(raw))) == (null, text)


LONG = b'"' + b"x" * 200_000 + b'"'


def test_a_large_array_holds_objects_only() -> None:
    large = b'[{"text":' + LONG + b"}%b]"
    assert len(slices.items(Raw(large % b',{"text":"b"}'), "messages")) == 2
    for rest in (b",1", b',"x"', b",[]", b",null"):
        with pytest.raises(ApiError) as caught:
            slices.items(Raw(large % rest), "messages")
        assert (caught.value.param, caught.value.code) == ("messages", "invalid_type")


def test_a_crowd_of_objects_is_refused_but_braces_in_texts_are_not() -> None:
    part = b'{"type":"text","text":"%b"}'
    for count, text, refused in (
        (slices.OBJECTS_MAX, b"xxxx", False),
        (slices.OBJECTS_MAX + 1, b"xxxx", True),
        (10, b'{\\"a\\": {}}' * slices.OBJECTS_MAX, False),
    ):
        fields = {"stop": Raw(b'"."'), "messages": Raw(b"[" + b",".join([part % text] * count) + b"]")}
        if refused:
            with pytest.raises(ApiError) as caught:
                slices.refuse_crowd(fields)
            assert (caught.value.param, caught.value.code) == ("messages", "array_above_max_length")
        else:
            slices.refuse_crowd(fields)
