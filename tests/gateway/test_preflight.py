"""What `glidepath check` finds without the network; and that a gateway with none of it has nothing in its way."""

import os
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.preflight import obstacles
from gateway.settings import Settings

UPSTREAM = {"kind": "openai", "base_urls": ["https://127.0.0.1:9/v1"], "model": "m"}
FREE = {"kind": "openai", "base_urls": ["http://127.0.0.1:9/v1"], "model": "n"}


def found(folder: Path, document: dict[str, object], environment: dict[str, str] | None = None) -> list[str]:
    whole = {"store": {"state_dir": str(folder / "new" / "state")}, **document}
    return [each.cause for each in obstacles(Settings.model_validate(whole), environment or {})]


def test_nothing_stands_in_the_way_of_a_plain_gateway(tmp_path: Path) -> None:
    log = str(tmp_path / "access.log")
    for path in ("-", log):
        assert found(tmp_path, {"upstreams": {"a": UPSTREAM}, "observability": {"access_log": path}}) == []
    assert not list(tmp_path.iterdir())
    Path(log).write_text("")
    assert found(tmp_path, {"observability": {"access_log": log}}) == []


def test_files_of_tls_are_read(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    for tls, name in (
        ({"ca_file": str(tmp_path / "absent")}, "ca_file"),
        ({"ca_file": str(tmp_path / "no.pem")}, "ca_file"),
        ({"cert_file": str(tmp_path / "no.pem")}, "cert_file"),
    ):
        # Each upstream is looked at with its own files, and not where nothing is encrypted.
        upstreams = {"a": {**UPSTREAM, "tls": tls}, "b": {**FREE, "tls": tls}}
        (cause,) = found(tmp_path, {"upstreams": upstreams})
        assert cause.startswith(f"upstreams.a.tls.{name}")


def test_variables_are_looked_up_and_never_shown(tmp_path: Path) -> None:
    upstream = {**FREE, "api_key_env": "A_KEY", "proxy_url": "http://127.0.0.1:9", "proxy_credentials_env": "A_PROXY"}
    document = {"upstreams": {"a": upstream}}
    assert [cause.split(",")[0] for cause in found(tmp_path, document)] == [
        "upstreams.a.api_key_env names A_KEY",
        "upstreams.a.proxy_credentials_env names A_PROXY",
    ]
    (cause,) = found(tmp_path, document, {"A_KEY": "sk-1234 5678", "A_PROXY": "me:word"})
    assert "A_KEY" in cause
    assert "1234" not in cause


def test_judges_are_looked_at_too(tmp_path: Path) -> None:
    judge = {
        "url": "https://127.0.0.1:9/v1",
        "model": "m",
        "api_key_env": "J_KEY",
        "tls": {"ca_file": str(tmp_path / "a")},
    }
    causes = found(tmp_path, {"judges": {"j": {**judge, "rubric_file": str(tmp_path / "b")}}})
    starts = ("judges.j.api_key_env names J_KEY", "judges.j.rubric_file", "judges.j.tls.ca_file")
    assert [cause.startswith(start) for cause, start in zip(causes, starts, strict=True)] == [True] * 3
    assert found(tmp_path, {"judges": {"j": {"url": "http://127.0.0.1:9/v1", "model": "m"}}}) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    observed = {"access_log": str(closed / "log")}
    assert len(found(closed, {"observability": observed})) == 2


def test_files_and_folders_in_each_others_place(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert "is no folder" in found(file, {})[0]
    assert "is a folder" in found(tmp_path, {"observability": {"access_log": str(tmp_path)}})[0]
    assert "no folder" in found(tmp_path, {"observability": {"access_log": str(tmp_path / "a" / "b.log")}})[0]


def test_the_command_names_them_and_calls_the_file_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("glidepath.toml").write_text('[observability]\naccess_log = "nowhere/access.log"\n')
    assert main(["check"]) == 0
    warning, hint, verdict = capsys.readouterr().out.splitlines()
    assert warning.startswith("warning: on this host, [observability] access_log: there is no folder ")
    assert hint == "  hint: make it: the gateway doesn't"
    assert verdict == "glidepath.toml: ok (0 upstreams, 0 features)"
