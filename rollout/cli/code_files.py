"""Flag documents in files: JSON or YAML, one file or a folder of them, or the standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rollout import atomic_file
from rollout.core.codec import parse_document, read_tree
from rollout.core.configuration import exported
from rollout.core.errors import InvalidArgument, InvalidDocument

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rollout.core.model import FeatureFlag

STDIN = "-"
_ROLLOUTS = "x-rollouts"
_JSON, _YAML = {".json"}, {".yaml", ".yml"}
_SIZE_MAX = 4 * 1024 * 1024


class Documents(NamedTuple):
    """The features of all files: as written, as flags, and the file that each is in."""

    entries: dict[str, Any]
    flags: dict[str, FeatureFlag]
    files: dict[str, str]

    def encoded(self) -> bytes:
        """Encode them as one document."""
        return json.dumps({_ROLLOUTS: self.entries}).encode()


def read_documents(path: str) -> Documents:
    """Read a file, a folder's *.json, *.yaml and *.yml, or "-"; InvalidDocument names the file and the place in it."""
    found = Documents({}, {}, {})
    for name, text in _texts(path):
        try:
            tree = _tree(name, text)
            flags = parse_document(tree, whole=False)
        except InvalidDocument as fault:
            raise InvalidDocument(f"{name}: {fault.cause}", fault.hint) from fault
        for feature, flag in flags.items():
            if feature in found.files:
                cause = f"{name}: {feature!r} is in {found.files[feature]}, too"
                raise InvalidDocument(cause, "keep each feature in one file")
            found.entries[feature], found.flags[feature] = tree[_ROLLOUTS][feature], flag
            found.files[feature] = name
    if not found.flags:
        raise InvalidDocument(f"{path}: there are no features", f'they belong under "{_ROLLOUTS}" of *.yaml or *.json')
    return found


def export_text(flags: Iterable[FeatureFlag], output: str, *, with_state: bool) -> str:
    """Write a document of these flags as "yaml" or "json": stable, in the order of their names."""
    ordered = sorted(flags, key=lambda flag: flag.feature)
    tree = {_ROLLOUTS: {flag.feature: exported(flag, with_state=with_state) for flag in ordered}}
    if output == "json":
        return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"
    from rollout.cli.yaml_text import write_yaml

    return write_yaml(tree)


def write_folder(folder: Path, flags: Mapping[str, FeatureFlag], output: str, *, with_state: bool) -> list[Path]:
    """Write a file for each feature; files that hold the same already stay untouched. The paths of all of them."""
    paths = []
    for feature in sorted(flags):
        path = folder / f"{feature}.{output}"
        content = export_text([flags[feature]], output, with_state=with_state).encode()
        try:
            if not path.is_file() or path.read_bytes() != content:
                atomic_file.replace(path, content)
        except OSError as fault:
            raise InvalidArgument(f"cannot write {path}: {fault.strerror}", "choose another folder") from fault
        paths.append(path)
    return paths


def _texts(path: str) -> list[tuple[str, bytes]]:
    """Give name and content of each file, by name."""
    if path == STDIN:
        return [("standard input", sys.stdin.buffer.read(_SIZE_MAX + 1))]
    place = Path(path)
    try:
        if not place.is_dir():
            return [(path, place.read_bytes())]
        files = sorted(each for each in place.iterdir() if _is_document(each))
        return [(str(each), each.read_bytes()) for each in files]
    except OSError as fault:
        raise InvalidArgument(f"cannot read {fault.filename or path}: {fault.strerror}", "see -f") from fault


def _is_document(path: Path) -> bool:
    return path.suffix in _JSON | _YAML and not path.name.startswith(".") and not path.is_dir()


def _tree(name: str, text: bytes) -> dict[str, Any]:
    """Read by the name's ending; without one, what begins as an object of JSON is JSON."""
    if len(text) > _SIZE_MAX:
        raise InvalidDocument(f"it is longer than {_SIZE_MAX} bytes", "split it")
    suffix = Path(name).suffix
    if suffix in _JSON or (suffix not in _YAML and text.lstrip()[:1] == b"{"):
        return read_tree(text)
    from rollout.cli.yaml_text import read_yaml

    tree = read_yaml(text)
    if not isinstance(tree, dict):
        raise InvalidDocument("the document must be an object", "see docs/flag-document.md")
    return tree
