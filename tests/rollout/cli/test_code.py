"""Flags as code against a real server, as an operator or a pipeline runs them."""

import json
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from rollout.core.errors import InvalidArgument, InvalidDocument, RolloutError, UnknownFeature
from tests.rollout import terminal
from tests.rollout.admin_port import open_port, operator_api
from tests.rollout.terminal import Cli

ROOT = Path(__file__).resolve().parents[3]
OPERATOR, VIEWER, APPROVER = "viewer,operator:ann", "viewer:vic", "viewer,approver:bob"


def first_yaml(page: str) -> str:
    return (ROOT / page).read_text("utf-8").partition("```yaml\n")[2].partition("```")[0]


EXAMPLE = first_yaml("docs/flag-document.md")
run = partial(terminal.run, "rollout")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with open_port(operator_api(tmp_path, following=True)) as address:
        yield address


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flags").mkdir()
    return tmp_path / "flags"


@pytest.fixture
def cli(url: str, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli("rollout", url, OPERATOR, capsys)


@pytest.fixture
def example(folder: Path) -> Path:
    (folder / "summarize.yaml").write_text(EXAMPLE, "utf-8")
    return folder


def test_the_documented_example_is_applied_and_then_changes_nothing(cli: Cli, example: Path) -> None:
    assert run("validate", "-f", str(example)) == 0
    assert "ok (1 features)" in cli.capsys.readouterr().out
    shown = cli.text("apply", "-f", str(example), "--dry-run")
    assert "summarize: change (create), revision 1" in shown
    assert '+ gates[errors].role: "hard"' in shown
    assert "warning" not in shown
    assert "dry run: 1 feature would change, nothing was written" in shown
    done = cli.json("apply", "-f", str(example), "--reason", "first ramp")
    assert [(each["action"], each["revision"]) for each in done["features"]] == [("change", 2)]
    assert "0 features would change" in cli.text("apply", "-f", str(example), "--dry-run")
    assert cli.json("get", "summarize")["revision"] == 2


def test_the_stage_table_is_applied_as_it_is(cli: Cli, folder: Path) -> None:
    """Every gate of evidence passes what is asked at `apply`, in a dry run and for real."""
    text = (ROOT / "deploy" / "stage-table.json").read_text("utf-8")
    (folder / "stages.json").write_text(text, "utf-8")
    assert run("validate", "-f", str(folder)) == 0
    shown = cli.text("apply", "-f", str(folder), "--dry-run")
    assert "summarize: change (create), revision 1" in shown
    assert '+ gates[as-good].metric: "judge"' in shown
    warnings = [line.strip() for line in shown.splitlines() if "warning" in line]
    assert warnings
    assert all("are not asked in the last step" in line for line in warnings)
    cli.text("apply", "-f", str(folder), "--reason", "first ramp")
    cli.text("start", "summarize", "--reason", "evaluation passed")
    state = cli.json("get", "summarize")["ramp_state"]
    assert (state["phase"], state["step"], state["step_share_millipct"]) == ("RUNNING", 0, 0)


@pytest.mark.parametrize(("judges", "warnings"), [("", 1), ('[judges.third]\nurl = "http://h/v1"\n', 0)])
def test_offline_too_a_judge_that_this_folder_lacks_is_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], judges: str, warnings: int
) -> None:
    """As `glidepath init` leaves it out, and the stage table names one."""
    (folder / "stages.json").write_text((ROOT / "deploy" / "stage-table.json").read_text("utf-8"), "utf-8")
    (tmp_path / "glidepath.toml").write_text(f"[admin]\n{judges}")
    assert run("validate", "-f", str(folder)) == 0
    assert capsys.readouterr().out.count("judge 'third' is no judge") == warnings


@pytest.mark.parametrize("name", ["stage-table", "minutes"])
def test_what_is_there_to_copy_is_in_order(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / f"{name}.json").write_text((ROOT / "deploy" / f"{name}.json").read_text("utf-8"), "utf-8")
    assert run("validate", "-f", str(folder)) == 0
    (warning,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert "are not asked in the last step" in warning


def test_what_is_exported_shows_no_difference(cli: Cli, example: Path, tmp_path: Path) -> None:
    cli.text("apply", "-f", str(example), "--reason", "first ramp")
    for output in ("yaml", "json"):
        out = tmp_path / output
        written = cli.text("export", "-f", str(out), "-o", output).split()
        assert written == [str(out / f"draft.{output}"), str(out / f"summarize.{output}")]
        assert "0 features would change" in cli.text("apply", "-f", str(out), "--dry-run")
    (tmp_path / "one.yaml").write_text(cli.text("export", "summarize", "--state"), "utf-8")
    assert "draft" not in (tmp_path / "one.yaml").read_text("utf-8")
    assert "0 features would change" in cli.text("apply", "-f", "one.yaml", "--dry-run")
    with pytest.raises(UnknownFeature, match="sumarize"):
        cli.code("export", "sumarize")


def test_the_first_ramp_of_the_readme_is_ready_and_starts(cli: Cli, folder: Path) -> None:
    (folder / "summarize.yaml").write_text(first_yaml("README.md"), "utf-8")
    assert run("validate", "-f", str(folder)) == 0
    cli.text("apply", "-f", str(folder), "--reason", "first ramp")
    cli.text("start", "summarize", "--reason", "evaluation passed")
    assert cli.json("get", "summarize")["ramp_state"]["phase"] == "RUNNING"


def test_a_backup_is_restored_into_a_store_that_has_the_feature_already(cli: Cli, folder: Path) -> None:
    backup = EXAMPLE.replace("hashVersion: 3", "hashVersion: 3\n    share_millipct: 50000")
    (folder / "summarize.yaml").write_text(backup, "utf-8")
    shown = cli.text("apply", "-f", str(folder), "--reason", "restored")
    assert "share_millipct: the document differs, but this is state and stays" in shown
    assert cli.fault("set-share", "summarize", "50%", "--reason", "restored").exit_code != 0
    cli.text("approve", "summarize", "--step", "2", "--reason", "restored", who=APPROVER)
    cli.text("set-share", "summarize", "50%", "--reason", "restored")
    cli.text("start", "summarize", "--reason", "go on")
    flag = cli.json("get", "summarize")
    assert (flag["share_millipct"], flag["ramp_state"]["step"]) == (50_000, 2)


def test_a_change_needs_a_reason_before_anything_is_read(cli: Cli) -> None:
    with pytest.raises(InvalidArgument, match="reason"):
        cli.code("apply", "-f", "nowhere")


def test_a_conflict_has_its_exit_code(cli: Cli, folder: Path) -> None:
    entry = {"candidate": "inhouse", "baseline": "partner", "revision": 7}
    (folder / "a.json").write_text(json.dumps({"x-rollouts": {"draft": entry}}), "utf-8")
    with pytest.raises(RolloutError) as fault:
        cli.code("apply", "-f", str(folder), "--reason", "r")
    assert fault.value.exit_code == 3


def test_an_export_of_the_last_good_snapshot_says_so(cli: Cli, tmp_path: Path) -> None:
    cli.text("export")
    (tmp_path / "store.db").rename(tmp_path / "away")
    assert cli.code("export", "draft") == 0
    shown = cli.capsys.readouterr()
    assert shown.err == "warning: store: unavailable, this is the last good snapshot\n"
    assert "draft:" in shown.out


def test_all_faults_that_the_gateway_finds_are_told(cli: Cli, folder: Path) -> None:
    needy = {"candidate": "a", "baseline": "b", "prerequisites": [{"feature": "gone"}]}
    ramp = {"candidate": "a", "baseline": "b", "ramp": {"steps": [{"share": 5, "max_duration": "0s"}]}}
    (folder / "a.json").write_text(json.dumps({"x-rollouts": {"f": needy, "g": ramp}}), "utf-8")
    with pytest.raises(RolloutError, match=r"'g': step 0 must end .* \(and 1 more\)") as fault:
        cli.code("apply", "-f", str(folder), "--dry-run")
    assert fault.value.exit_code == 2
    assert "further faults: 'f' needs 'gone', which is not there" in fault.value.hint


def test_validate_needs_no_gateway_and_tells_all_faults(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = EXAMPLE.replace("failure: {count: 3}", "")
    (folder / "bad.yaml").write_text(bad.replace("bake: 6h", "bake: 0s"), "utf-8")
    needy = {"candidate": "a", "baseline": "b", "prerequisites": [{"feature": "elsewhere"}]}
    (folder / "needy.json").write_text(json.dumps({"x-rollouts": {"needy": needy}}), "utf-8")
    with pytest.raises(InvalidDocument) as fault:
        run("validate", "-f", str(folder))
    assert fault.value.exit_code == 2
    shown = capsys.readouterr().out.splitlines()
    at = f"{folder / 'bad.yaml'}: 'summarize'"
    assert (
        f"fault: {at}: gate 'errors' needs a failure rule: how many FAILs, in a row or within what time, count" in shown
    )
    assert f"fault: {at}: step 1 doesn't bake, so its gates would judge nothing" in shown
    assert "warning: 'needy' needs 'elsewhere', which is not among these documents" in shown
    (folder / "bad.yaml").write_text("x-rollouts: {summarize: {candidat: a, baseline: b}}", "utf-8")
    with pytest.raises(InvalidDocument, match=r"bad\.yaml: x-rollouts\.summarize has an unknown key 'candidat'"):
        run("validate", "-f", str(folder))


def test_a_ramp_is_planned_before_and_after_it_is_applied(cli: Cli, example: Path) -> None:
    shown = cli.text("plan", "summarize", "-f", str(example))
    assert "summarize: traffic unknown" in shown
    assert "how long its samples and evidence take is unknown without a rate" in shown
    cli.text("apply", "-f", str(example), "--reason", "first ramp")
    planned = cli.json("plan", "summarize", "--units-per-s", "2.5")
    assert planned["steps"][0]["needs_s"] == 20_000.0
    assert "approval of a second person" in cli.text("plan", "summarize", "--units-per-s", "2.5")


def test_the_doctor_looks_at_gateway_key_and_server(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    shown = cli.text("doctor")
    assert "ok    gateway: the operator API answers" in shown
    assert "ok    key: roles: viewer, operator" in shown
    assert "ok    store: version 2, 2 features" in shown
    answer = cli.json("doctor", who=VIEWER)
    assert answer["result"] == "warn"
    assert answer["checks"][1]["hint"] == "changes need a key with the role operator"
    assert cli.code("doctor", "-o", "json", who="another") == 1
    assert json.loads(capsys.readouterr().out)["checks"][0]["result"] == "fail"


def test_the_doctor_says_when_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert run("doctor", "--admin-url", f"http://127.0.0.1:{port}") == 1
    shown = capsys.readouterr().out
    assert shown.startswith("fail  gateway: no answer from")
    assert "hint: is the gateway running" in shown


def test_the_doctor_fails_where_the_server_does(cli: Cli, example: Path, tmp_path: Path) -> None:
    cli.text("apply", "-f", str(example), "--reason", "first ramp")
    (tmp_path / "killed").write_text("draft\n", "utf-8")
    deadline_s = time.monotonic() + 60
    while "killed on this replica alone" not in (shown := _doctor(cli)):
        assert time.monotonic() < deadline_s, shown
    assert "fail  prometheus: none is configured; gates of summarize ask it" in shown
    assert cli.code("doctor") == 1


def _doctor(cli: Cli) -> str:
    cli.code("doctor")
    return cli.capsys.readouterr().out
