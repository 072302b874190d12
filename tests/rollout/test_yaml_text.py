from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from rollout.yaml_text import write_yaml

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(TREES)
def test_it_is_read_back_as_it_was(tree: Any) -> None:
    assert yaml.safe_load(write_yaml(tree)) == tree


def test_order_and_readable_text_are_kept() -> None:
    assert write_yaml({"z": "ü", "a": [1, {"b": None}]}) == "z: ü\na:\n- 1\n- b: null\n"
    assert write_yaml({"on": "12:30", "reason": "\x1b[2J"}) == "'on': '12:30'\nreason: \"\\e[2J\"\n"
