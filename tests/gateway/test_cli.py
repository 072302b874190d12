"""The command: what it writes and checks, and how it refuses; no refusal shows a traceback."""

import socket
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.settings import load
from gateway.template import CONFIG_TEMPLATE

FAULTY = "[server]\nprot = 1\n"
CONFIG = """
[server]
port = 0
[admin]
port = 0
[upstreams.inhouse]
kind = "vllm"
base_urls = ["http://127.0.0.1:9/v1"]
model = "moe"
[upstreams.partner]
kind = "openai"
base_urls = ["http://127.0.0.1:9/v1"]
model = "gpt"
[features.draft]
candidate = "inhouse"
baseline = "partner"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(text: str) -> tuple[str, str]:
    """(cause, hint) of a refusal: two lines, nothing else."""
    cause, hint = text.splitlines()
    assert cause.startswith("glidepath: ")
    assert hint.startswith("  hint: ")
    return cause, hint


def test_init_writes_a_file_that_check_accepts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    assert (folder / "glidepath.toml").read_text() == CONFIG_TEMPLATE
    assert main(["check"]) == 0
    assert "ok (2 upstreams, 1 features)" in capsys.readouterr().out
    assert load(folder / "glidepath.toml", {}).features


def test_init_overwrites_only_when_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.toml").write_text("mine")
    assert main(["init", "mine.toml"]) != 0
    cause, hint = said(capsys.readouterr().err)
    assert "exists already" in cause
    assert "--force" in hint
    assert (folder / "mine.toml").read_text() == "mine"
    assert main(["init", "mine.toml", "--force"]) == 0
    assert (folder / "mine.toml").read_text() == CONFIG_TEMPLATE


def test_init_where_nothing_can_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "none/there.toml"]) != 0
    assert "cannot write" in said(capsys.readouterr().err)[0]


@pytest.mark.parametrize("verb", [["check"], ["gateway", "--config"]])
@pytest.mark.parametrize(
    ("text", "cause", "hint"),
    [
        (None, "no such file", "glidepath init"),
        ("[server", "not valid TOML", "line"),
        (FAULTY, "unknown key 'server.prot'", "'port'"),
        (CONFIG.replace('"inhouse"', '"inhose"'), "names the upstream 'inhose'", "table"),
    ],
)
def test_a_faulty_file_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], *, verb: list[str], text: str | None, cause: str, hint: str
) -> None:
    if text is not None:
        (folder / "c.toml").write_text(text)
    assert main([*verb, "c.toml"]) != 0
    captured = capsys.readouterr()
    assert captured.out == ""
    shown = said(captured.err)
    assert cause in shown[0]
    assert hint in shown[1]


def test_a_key_that_is_not_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "c.toml").write_text(CONFIG.replace('model = "gpt"', 'model = "gpt"\napi_key_env = "NO_SUCH_VARIABLE"'))
    assert main(["gateway", "--config", "c.toml"]) != 0
    cause, hint = said(capsys.readouterr().err)
    assert "upstreams.partner.api_key_env names NO_SUCH_VARIABLE" in cause
    assert "export NO_SUCH_VARIABLE" in hint


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["gateway", "--unknown"]])
def test_a_misspelt_command_shows_its_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: glidepath" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("glidepath 0.")


@pytest.fixture
def taken_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def refused(command, tmp_path: Path, text: str, **environment: str) -> tuple[str, str]:
    """Start the gateway with a configuration that it can't run."""
    (tmp_path / "c.toml").write_text(text)
    process = command("gateway", "--config", "c.toml", **environment)
    assert process.end() != 0
    assert process.stdout == ""
    assert "Traceback" not in process.stderr
    return said(process.stderr)


@pytest.mark.system
@pytest.mark.parametrize("section", ["server", "admin"])
def test_a_port_in_use(command, tmp_path: Path, taken_port: int, section: str) -> None:
    text = CONFIG.replace(f"[{section}]\nport = 0", f"[{section}]\nport = {taken_port}")
    cause, hint = refused(command, tmp_path, text)
    assert f"cannot listen on 127.0.0.1:{taken_port} ([{section}])" in cause
    assert f"[{section}]" in hint


@pytest.mark.system
def test_an_address_that_is_not_here(command, tmp_path: Path) -> None:
    cause, _ = refused(command, tmp_path, CONFIG.replace("port = 0", 'host = "192.0.2.1"\nport = 0', 1))
    assert "cannot listen on 192.0.2.1:0" in cause


@pytest.mark.system
@pytest.mark.parametrize(
    "url",
    ["postgres://h/db", "sqlite://x.db", "sqlite:///", "sqlite:///there/is/a/file/store.db", "redis://127.0.0.1:9/0"],
)
def test_a_store_that_cant_be_used(command, tmp_path: Path, url: str) -> None:
    (tmp_path / "there").write_text("a file, not a folder")
    cause, _ = refused(command, tmp_path, CONFIG + f'[store]\nurl = "{url}"\n')
    assert "store" in cause


@pytest.mark.system
def test_a_state_folder_that_cant_be_written(command, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("a file, not a folder")
    cause, _ = refused(command, tmp_path, CONFIG + '[store]\nurl = "sqlite:///s.db"\nstate_dir = "there/state"\n')
    assert "there/state" in cause


@pytest.mark.system
@pytest.mark.parametrize("key", ["", " gp-x", "gp x\n", "gp-\u00e9"])
def test_a_first_key_that_is_no_key(command, tmp_path: Path, key: str) -> None:
    cause, _ = refused(command, tmp_path, CONFIG, GLIDEPATH_BOOTSTRAP_KEY=key)
    assert "GLIDEPATH_BOOTSTRAP_KEY" in cause
    assert not key.strip() or key not in cause


@pytest.mark.system
def test_an_override_from_the_environment(command, tmp_path: Path) -> None:
    cause, hint = refused(command, tmp_path, CONFIG, GLIDEPATH_SERVER__PROT="1")
    assert "server.prot" in cause
    assert "'port'" in hint
