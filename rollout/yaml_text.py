"""Trees of JSON values as YAML text that every YAML reader reads back as they were."""

from __future__ import annotations

from typing import Any

import yaml

_WIDTH = 120


class _Dumper(yaml.SafeDumper):
    """PyYAML's own, but for texts with line breaks that only YAML knows: those it loses unless they are escaped."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    odd = any(not each.isprintable() and each != "\n" for each in text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if odd else None)


_Dumper.add_representer(str, _text)


def write_yaml(tree: Any) -> str:  # noqa: ANN401  any JSON value
    """Write YAML, the members of mappings in their order."""
    text: str = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return text
