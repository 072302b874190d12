import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.cli.code_files import export_text, read_documents, write_folder
from rollout.cli.yaml_text import read_yaml
from rollout.core.codec import parse_document
from rollout.core.configuration import created
from rollout.core.errors import InvalidArgument, InvalidDocument
from rollout.core.model import FeatureFlag
from tests.examples import fewer
from tests.rollout.core.document_strategies import stores

ENTRY = {"candidate": "inhouse", "baseline": "partner"}
FLAG = FeatureFlag(feature="draft", candidate="inhouse", baseline="partner")


def write(folder: Path, name: str, *features: str, text: str | None = None) -> None:
    (folder / name).write_text(text or json.dumps({"x-rollouts": dict.fromkeys(features, ENTRY)}), "utf-8")


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    write(tmp_path, "b.json", "summarize")
    write(tmp_path, "a.yaml", text="x-rollouts:\n  draft:\n    candidate: inhouse\n    baseline: partner\n")
    write(tmp_path, "c.yml", "rewrite")
    write(tmp_path, ".hidden.yaml", text="[")
    write(tmp_path, "README.md", text="about")
    (tmp_path / "deeper.json").mkdir()
    found = read_documents(str(tmp_path))
    assert list(found.flags) == ["draft", "summarize", "rewrite"]
    assert found.files["draft"] == str(tmp_path / "a.yaml")
    assert parse_document(found.encoded()) == found.flags


def test_one_file_is_read_by_its_ending_else_by_its_beginning(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "draft")
    assert list(read_documents(str(tmp_path / "a.txt")).flags) == ["draft"]
    write(tmp_path, "b.txt", text="x-rollouts: {draft: {candidate: a, baseline: b}}")
    assert read_documents(str(tmp_path / "b.txt")).flags["draft"].candidate == "a"
    write(tmp_path, "c.json", text="x-rollouts: {}")
    with pytest.raises(InvalidDocument, match=r"c\.json: the document is not JSON"):
        read_documents(str(tmp_path / "c.json"))


def test_the_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps({"x-rollouts": {"draft": ENTRY}}).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    assert list(read_documents("-").files.items()) == [("draft", "standard input")]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("x-rollouts: {draft: {candidat: a, baseline: b}}", "x-rollouts.draft has an unknown key 'candidat'; did you"),
        ("x-rollouts: {draft: {candidate: a, baseline: b, ramp: {steps: [{share: -1}]}}}", "ramp.steps[0].share"),
        ("x-rollouts:\n  draft: {}\n  draft: {}", "line 3, column 3: the key 'draft' appears twice"),
        ("- a", "the document must be an object"),
        ("x-rollouts: {}", "there are no features"),
        ("#" * (4 * 1024 * 1024 + 1), "longer than"),
    ],
)
def test_a_bad_document_is_refused_with_file_and_place(tmp_path: Path, text: str, cause: str) -> None:
    write(tmp_path, "bad.yaml", text=text)
    with pytest.raises(InvalidDocument) as fault:
        read_documents(str(tmp_path / "bad.yaml"))
    assert fault.value.cause.startswith(f"{tmp_path / 'bad.yaml'}: ")
    assert cause in fault.value.cause


def test_a_link_that_leads_nowhere_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to(tmp_path / "gone.yaml")
    with pytest.raises(InvalidArgument, match=r"cannot read .*a\.yaml"):
        read_documents(str(tmp_path))


def test_a_feature_in_two_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.json", "draft")
    write(tmp_path, "b.json", "draft")
    with pytest.raises(InvalidDocument, match=r"b\.json: 'draft' is in .*a\.json, too"):
        read_documents(str(tmp_path))


def test_what_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="No such file"):
        read_documents(str(tmp_path / "none.yaml"))
    with pytest.raises(InvalidDocument, match="there are no features"):
        read_documents(str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgument, match="cannot write"):
        write_folder(tmp_path / "file", {"draft": FLAG}, "yaml", with_state=False)


def test_an_export_into_a_folder_leaves_alone_what_is_so_already(tmp_path: Path) -> None:
    flags = {"draft": FLAG}
    (path,) = write_folder(tmp_path / "new", flags, "yaml", with_state=False)
    assert path == tmp_path / "new" / "draft.yaml"
    before = path.stat()
    write_folder(tmp_path / "new", flags, "yaml", with_state=False)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    write_folder(tmp_path / "new", flags, "yaml", with_state=True)
    assert read_documents(str(tmp_path / "new")).flags == flags


@fewer(50)
@given(stores, st.sampled_from(["yaml", "json"]))
def test_an_export_is_read_again_and_always_the_same(flags: dict[str, FeatureFlag], output: str) -> None:
    text = export_text(flags.values(), output, with_state=True)
    tree = json.loads(text) if output == "json" else read_yaml(text.encode())
    assert parse_document(tree) == {name: created(flag) for name, flag in flags.items()}
    assert export_text(list(flags.values())[::-1], output, with_state=True) == text
