"""The stack of one worker as it is wired: keys, limits, sinks, what is missing."""

import json
import sys
from pathlib import Path

import pytest

from gateway.access_log import AccessLog
from gateway.auth import first_key_record
from gateway.collector import PaidPairs
from gateway.core.checks.answer_checks import Checks
from gateway.core.checks.sampling import CheckedAnswer
from gateway.core.errors import ApiError
from gateway.feedback import UnknownAnswerError
from gateway.parts import Parts, Secrets, build_parts, load_tracing
from gateway.settings import Settings
from gateway.start_error import StartError
from rollout.adapters.clock import WallClock
from rollout.adapters.sqlite import SqliteStore
from rollout.core.keys import KeyRecord
from rollout.follower import Follower

DOCUMENT = {
    "upstreams": {
        name: {"kind": "vllm", "base_urls": [f"http://127.0.0.1:9/{name}"], "model": model}
        for name, model in (("inhouse", "moe"), ("partner", "gpt"))
    },
    "features": {"draft": {"candidate": "inhouse", "baseline": "partner"}},
}
NO_SECRETS = Secrets({"inhouse": None, "partner": "sk-partner"}, {}, {"j": "sk-judge", "k": None})


class NoOthers:
    """This worker is the only one."""

    async def find(self, request_id: str, tenant: str) -> float:
        raise UnknownAnswerError

    async def take(self, rated: object) -> str:
        raise UnknownAnswerError


@pytest.fixture
def build(tmp_path: Path, stack):
    def make(**sections: object) -> Parts:
        settings = Settings.model_validate({**DOCUMENT, **sections})
        store = SqliteStore(tmp_path / "store.db")
        stack.push_async_callback(store.close)
        follower = Follower(store, WallClock())
        return build_parts(settings, NO_SECRETS, store, follower, unready=lambda: None, others=NoOthers())

    return make


def key(name: str, **changes: object) -> KeyRecord:
    record = first_key_record(f"gp-{name}", 0.0, name=name)
    return KeyRecord(**{each: getattr(record, each) for each in record.__struct_fields__} | changes)


def bearer(name: str) -> dict[bytes, bytes]:
    return {b"authorization": f"Bearer gp-{name}".encode()}


async def test_keys_come_into_force_with_their_limits_and_go_with_them(build) -> None:
    parts = build()
    limited = key("limited", requests_per_minute=5)
    parts.adopt_keys([limited, key("free"), key("gone", requests_per_minute=5, revoked_at_s=1.0)])
    assert parts.keyring.find(bearer("limited"), 1.0).name == "limited"
    assert set(parts.quotas.admission.subjects) == {limited.id}
    with pytest.raises(ApiError):
        parts.keyring.find(bearer("gone"), 1.0)
    parts.adopt_keys([key("free")])
    assert not parts.quotas.admission.subjects
    with pytest.raises(ApiError):
        parts.keyring.find(bearer("limited"), 1.0)


async def test_limits_of_a_tenant_reach_keys_without_their_own(build) -> None:
    parts = build(tenants={"default": {"tokens_per_minute": 1_000}})
    free = key("free")
    parts.adopt_keys([free])
    assert [meter.scope for meter in parts.quotas.admission.subjects[free.id].meters] == ["tenant"]


async def test_each_upstream_has_its_own_secrets_and_request_ids_differ(build) -> None:
    parts, other = build(), build()
    upstreams = parts.relay.upstreams
    assert (upstreams["inhouse"].secrets, upstreams["partner"].secrets) == ((), ("sk-partner",))
    assert b"sk-partner" in upstreams["partner"].endpoints[0].heads["chat"]
    assert b"sk-partner" not in upstreams["inhouse"].endpoints[0].heads["chat"]
    ids = [each.relay.next_request_id() for each in (parts, parts, other)]
    assert len(set(ids)) == 3


async def test_records_reach_the_access_log(build, tmp_path: Path, relay_gateway, upstream, wire, until) -> None:
    parts = build(observability={"access_log": str(tmp_path / "access.log")})
    (log,) = parts.sinks
    assert isinstance(log, AccessLog)
    server = await upstream(wire.plain("{}"))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, record=parts.recorder.record)
    caller = await gateway.caller()
    caller.post({"model": "copilot/draft", "user": "u"})
    assert (await caller.answer()).status == 200
    await until(lambda: gateway.held == (0, 0, 0, 0))
    parts.recorder.drain()
    log.close()
    (line,) = (tmp_path / "access.log").read_text().splitlines()
    assert (json.loads(line)["feature"], json.loads(line)["status"]) == ("draft", 200)
    assert wire.key not in line
    assert parts.metrics.requests.series


async def test_judges_get_their_keys_and_the_pairs_of_shadow_calls(build) -> None:
    judge = {"url": "http://127.0.0.1:9/v1", "model": "judge-1"}
    parts = build(judges={"j": judge, "k": judge})
    gathering, sink = parts.gathering, parts.relay.shadows.sink
    assert isinstance(sink, PaidPairs)
    assert sink is gathering.pair_sink
    assert sink.sink is gathering.kept
    assert gathering.kept.sink is gathering.judges
    heads = {name: each._line.head for name, each in parts.gathering.judges.judges.items()}
    assert {name for name, head in heads.items() if b"sk-judge" in head} == {"j"}
    names = {(reading.name, *labels) for reading in parts.metrics.readings() for labels, _ in reading.series}
    assert {("glidepath_judge_waiting", "k"), ("glidepath_judge_state", "j", "healthy")} <= names


def test_without_opentelemetry_the_cause_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gateway.tracing", None)
    with pytest.raises(StartError, match="otlp_endpoint") as caught:
        load_tracing()
    assert "glidepath[otel]" in caught.value.hint


async def test_a_refused_sink_is_told_before_anything_is_opened(build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gateway.tracing", None)
    with pytest.raises(StartError):
        build(observability={"otlp_endpoint": "http://127.0.0.1:9"})


async def test_a_sample_of_answers_is_checked_unless_none_is_wanted(build) -> None:
    parts = build()
    assert parts.relay.checking is not None
    found = CheckedAnswer("r", 1.0, "draft", 1, "candidate", "user", 5, Checks(empty=True), 7)
    parts.relay.checking._found(found)
    assert parts.metrics.checking.checks.series["draft", "candidate", "empty", "fault"] == 1
    assert build(checks={"sample_millipct": 0}).relay.checking is None


async def test_what_cannot_be_counted_is_shown(build) -> None:
    parts = build()
    names = {each.family for each in parts.metrics.changes()}
    assert {"glidepath_uncounted_units", "glidepath_unmeasurable_latencies"} <= names
