import json
import socket
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import PreflightError
from serving.preflight import check_model, check_port, check_writable, clear_ready_file, free_port
from serving.spec import ModelSpec


def weights(data_bytes: int = 4) -> bytes:
    header = json.dumps({"__metadata__": {"format": "pt"}, "w": {"data_offsets": [0, data_bytes]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"\0" * data_bytes


def model(tmp_path: Path) -> tuple[Path, ModelSpec]:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(weights())
    return directory, ModelSpec(model=str(directory), served_name="m")


def refusal(spec: ModelSpec) -> PreflightError:
    with pytest.raises(PreflightError) as caught:
        check_model(spec)
    assert caught.value.hint
    return caught.value


def test_a_whole_model_passes(tmp_path: Path) -> None:
    directory, spec = model(tmp_path)
    check_model(spec)
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    check_model(spec)


def test_a_hub_model_is_the_hubs_affair() -> None:
    check_model(ModelSpec(model="o/n", served_name="n", revision="c" * 40))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    directory, spec = model(tmp_path)
    (directory / "model.safetensors").unlink()
    assert "no weights" in refusal(spec).cause
    (directory / "config.json").write_text("{")
    assert "config.json cannot be read" in refusal(spec).cause
    (directory / "config.json").unlink()
    assert "no config.json" in refusal(spec).cause
    absent = msgspec.structs.replace(spec, model=str(tmp_path / "absent"))
    assert f"no model directory at {tmp_path}/absent" in refusal(absent).cause


@given(st.integers(0, len(weights()) - 1))
def test_weights_cut_anywhere_are_noticed(tmp_path_factory: pytest.TempPathFactory, kept: int) -> None:
    directory, spec = model(tmp_path_factory.mktemp("cut"))
    (directory / "model.safetensors").write_bytes(weights()[:kept])
    assert "damaged or incomplete" in refusal(spec).cause


def test_weights_that_are_something_else_are_noticed(tmp_path: Path) -> None:
    directory, spec = model(tmp_path)
    for content in (
        b"",
        b"version https://git-lfs.github.com/spec/v1\n",
        (2).to_bytes(8, "little") + b"[]",
        b"\xff" * 99,
    ):
        (directory / "model.safetensors").write_bytes(content)
        assert "damaged or incomplete" in refusal(spec).cause


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_in_use_is_refused_and_a_free_one_passes(host: str) -> None:
    port = free_port(host)
    spec = ModelSpec(model="/m", served_name="m", host=host, port=port)
    check_port(spec)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as holder:
        holder.bind((host, port))
        holder.listen()
        with pytest.raises(PreflightError, match=f"port {port} is already in use"):
            check_port(spec)


def test_a_file_that_cannot_be_written_is_refused_and_folders_are_made(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder" / "file")
    assert (tmp_path / "new" / "folder").is_dir()
    (tmp_path / "file").touch()
    for impossible in (tmp_path / "new", tmp_path / "file" / "below"):
        with pytest.raises(PreflightError, match="cannot write"):
            check_writable(impossible)


def test_a_stale_ready_file_is_removed_and_an_impossible_one_refused(tmp_path: Path) -> None:
    ready = tmp_path / "run" / "ready.json"
    clear_ready_file(ready)
    assert list(ready.parent.iterdir()) == []
    ready.write_text("stale")
    clear_ready_file(ready)
    assert list(ready.parent.iterdir()) == []
    with pytest.raises(PreflightError, match="cannot write"):
        clear_ready_file(ready.parent)


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(PreflightError, match="cannot listen on 192\\.0\\.2\\.1:8000"):
        check_port(ModelSpec(model="/m", served_name="m", host="192.0.2.1"))
