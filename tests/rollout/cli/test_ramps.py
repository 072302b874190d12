"""The commands that lead a ramp against a real server, as operators run them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from rollout.cli.audit_export import import_lines
from rollout.core.audit import record_change, replay
from rollout.core.ramp_model import Phase, RampPlan, Step
from rollout.ports import Store
from tests.rollout import terminal
from tests.rollout.admin_port import open_port, operator_api
from tests.rollout.terminal import Cli

PLAN = RampPlan(steps=(Step(share=1_000), Step(share=25_000, approval=True), Step(share=100_000)), cooldown="0s")
ANN, BOB, ROOT = "viewer,operator:ann", "viewer,approver:bob", "viewer,admin:root"


async def ready(store: Store) -> None:
    before = await store.get("summarize")
    assert before is not None
    after = replace(before, ramp=PLAN, progress=replace(before.progress, phase=Phase.READY))
    entry = record_change(before, after, actor="config", command="create", reason="r", at_s=1.0)
    await store.put_if_revision(after, before.revision, entry)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with open_port(operator_api(tmp_path, ready)) as address:
        yield address


class Ramping(Cli):
    """`glidepath rollout` as ann, or as somebody else."""

    def do(self, *arguments: str, who: str = "") -> Any:
        """Change `summarize`."""
        verb, *rest = arguments
        return self.json(verb, "summarize", *rest, "--reason", "it is time", who=who)


@pytest.fixture
def cli(url: str, capsys: pytest.CaptureFixture[str]) -> Ramping:
    return Ramping("rollout", url, ANN, capsys)


@pytest.fixture(scope="module")
def calm_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with open_port(operator_api(tmp_path_factory.mktemp("calm"), ready)) as address:
        yield address


@pytest.fixture
def calm(calm_url: str, capsys: pytest.CaptureFixture[str]) -> Ramping:
    """At a gateway of the whole file, for what changes nothing."""
    return Ramping("rollout", calm_url, ANN, capsys)


def test_a_key_needs_no_other_role_to_read_what_it_changes(cli: Ramping) -> None:
    assert cli.do("start", who="operator:ann")["progress"]["phase"] == "RUNNING"
    assert cli.do("approve", who="approver:bob")["progress"]["approval"]["step"] == 1
    assert cli.fault("history", "summarize", who="operator:ann").exit_code == 5


def test_approving_says_what_was_approved(cli: Ramping) -> None:
    cli.do("start")
    said = cli.text("approve", "summarize", "--reason", "seen", who=BOB)
    assert "step 1 (25%) approved by bob for revision 4" in said


def test_a_ramp_is_led_from_its_start_to_its_end(cli: Ramping) -> None:
    assert "share 1% (in force 1%), revision 3" in cli.text("start", "summarize", "--reason", "r")
    assert cli.do("pause")["progress"]["phase"] == "PAUSED"
    assert cli.do("ack")["progress"]["paused"]["acked_by"] == "ann"
    assert cli.do("extend", "2h")["progress"]["extended_s"] == 7_200
    assert cli.do("resume")["progress"]["phase"] == "RUNNING"
    assert cli.fault("promote", "summarize", "--reason", "r").exit_code == 1
    assert cli.do("approve", who=BOB)["progress"]["approval"]["step"] == 1
    assert cli.do("promote")["share"] == "25%"
    assert cli.do("jump", "0")["progress"]["paused"]["actor"] == "ann"
    assert cli.do("abort")["share"] == "0%"
    assert cli.do("restart")["progress"]["attempt"] == 2
    assert cli.do("complete")["progress"]["phase"] == "COMPLETED"
    commands = [entry["command"] for entry in cli.json("history", "summarize")["entries"]]
    assert commands[:4] == ["complete", "restart", "roll_back", "jump"]


def test_other_names_mean_the_same(cli: Ramping) -> None:
    cli.do("start")
    cli.do("approve", "--step", "1", who=BOB)
    assert cli.do("advance")["share"] == "25%"
    assert cli.do("rollback")["progress"]["phase"] == "ROLLED_BACK"
    assert cli.do("end")["progress"].get("phase") == "DRAFT"


def test_a_command_can_be_pinned_to_a_revision(cli: Ramping) -> None:
    assert cli.do("start", "--revision", "2")["revision"] == 3
    fault = cli.fault("jump", "summarize", "0", "--reason", "r", "--revision", "2")
    assert (fault.exit_code, "now at revision 3 with 1%" in fault.hint) == (3, True)
    for stop in ("pause", "abort"):
        with pytest.raises(SystemExit):
            terminal.run("rollout", stop, "summarize", "--reason", "r", "--revision", "1")


def test_a_command_with_a_key_is_done_once(cli: Ramping) -> None:
    for said in ("", ", answered as before"):
        shown = cli.text("start", "summarize", "--reason", "r", "--idempotency-key", "deploy 7")
        assert shown == f"summarize: share 1% (in force 1%), revision 3, RUNNING step 0 of 0..2{said}\n"
    fault = cli.fault("kill", "summarize", "--reason", "r", "--idempotency-key", "deploy 7")
    assert (fault.exit_code, "another command" in fault.cause) == (1, True)
    for revision, verb in enumerate(("kill", "unkill"), start=4):
        for _ in range(2):
            assert cli.do(verb, "--idempotency-key", verb)["flag"]["revision"] == revision
    for _ in range(2):
        assert cli.do("set-share", "0.5%", "--idempotency-key", "s")["revision"] == 6


def test_stops_without_the_store_say_where_they_hold(cli: Ramping, tmp_path: Path) -> None:
    cli.do("start")
    (tmp_path / "store.db").rename(tmp_path / "away")
    for verb, where in (("pause", "no ramp goes on"), ("abort", "takes its traffic away")):
        fault = cli.fault(verb, "summarize", "--reason", "r")
        assert (fault.exit_code, where in fault.hint) == (5, True)
        assert cli.capsys.readouterr().out.startswith("summarize: share 1% (in force ")
    assert cli.fault("resume", "summarize", "--reason", "r", "--revision", "3").exit_code == 5


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("start", "sumarize", "--reason", "r"), 4),
        (("pause", "sumarize", "--reason", "r"), 4),
        (("resume", "summarize", "--reason", "r"), 1),
        (("approve", "summarize", "--reason", "r"), 5),
        (("jump", "summarize", "-1", "--reason", "r"), 2),
        (("extend", "summarize", "soon", "--reason", "r"), 2),
        (("start", "summarize", "--reason", "caf\udce9"), 2),
        (("start", "summarize", "--reason", "r", "--idempotency-key", "ü"), 2),
        (("start", "summarize", "--reason", " "), 2),
        (("accept-loss", "--reason", "r"), 5),
        (("enrol", "decline", "summarize", "--tenant", "acme", "--reason", "r"), 5),
        (("audit", "export", "--after", "-1"), 2),
        (("audit", "export", "--output", "nowhere/audit.jsonl"), 2),
    ],
)
def test_exit_codes(calm: Ramping, arguments: tuple[str, ...], code: int) -> None:
    fault = calm.fault(*arguments)
    assert fault.exit_code == code
    assert fault.hint


def test_early_access_is_asked_for_and_decided_on(cli: Ramping) -> None:
    wish = ("--tenant", "acme", "--user", "u1", "--reason", "r")
    assert "requested" in cli.text("enrol", "request", "summarize", *wish)
    assert cli.fault("enrol", "approve", "summarize", *wish, who="approver:ann").exit_code == 2
    assert "approved" in cli.text("enrol", "approve", "summarize", *wish, who=BOB)
    cli.text("enrol", "request", "summarize", "--tenant", "globex", "--reason", "r")
    (first, second) = cli.json("enrol", "list", "summarize")["enrolments"]
    assert (first["tenant"], first["state"], first["decided_by"]) == ("acme", "approved", "bob")
    assert (second["tenant"], second["user"]) == ("globex", "")
    assert "(all)" in cli.text("enrol", "list", "summarize")
    cli.text("enrol", "decline", "summarize", *wish, who=BOB)
    cli.text("enrol", "forget", "summarize", *wish, who=BOB)
    assert [each["tenant"] for each in cli.json("enrol", "list", "summarize")["enrolments"]] == ["globex"]


def test_the_audit_log_is_exported_whole(cli: Ramping, tmp_path: Path) -> None:
    cli.do("start")
    assert cli.code("audit", "export", "--output", str(tmp_path / "audit.jsonl")) == 0
    entries = list(import_lines((tmp_path / "audit.jsonl").read_bytes().splitlines()))
    assert [entry.command for entry in entries] == ["create", "create", "create", "start"]
    assert replay(entries)["summarize"].progress.phase is Phase.RUNNING
    assert sorted(path.name for path in tmp_path.glob("audit*")) == ["audit.jsonl"]


def test_the_newest_part_of_the_audit_log_goes_to_standard_output(cli: Ramping) -> None:
    cli.do("start")
    (entry,) = import_lines(cli.text("audit", "export", "--after", "3").encode().splitlines())
    assert (entry.command, entry.actor) == ("start", "ann")


def test_an_export_that_fails_leaves_the_file_as_it_was(cli: Ramping, tmp_path: Path) -> None:
    kept = tmp_path / "audit.jsonl"
    kept.write_text("before")
    cli.json("get")
    (tmp_path / "store.db").rename(tmp_path / "away")
    assert cli.fault("audit", "export", "--output", str(kept)).exit_code == 5
    assert (kept.read_text(), sorted(path.name for path in tmp_path.glob("audit*"))) == ("before", ["audit.jsonl"])


def test_a_loss_is_accepted(calm: Ramping) -> None:
    assert calm.json("accept-loss", "--reason", "r", who=ROOT) == {"accepted": False, "version": None}
    assert "nothing was lost" in calm.text("accept-loss", "--reason", "r", who=ROOT)
