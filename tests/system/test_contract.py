"""What callers and operators rely on, shown with the real processes and the official SDK, only its base URL changed.

Both upstreams are simulators; the gateway is `glidepath gateway --config FILE`.
"""

import asyncio
import json
import socket
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx2
import openai
import pytest

pytestmark = pytest.mark.system

KEY = "gp-contract-test"
CONVERSATIONS = [f"conversation-{number}" for number in range(600)]
MESSAGES = [{"role": "user", "content": "say something"}]
SHARES = [1_000, 5_000, 25_000, 50_000, 100_000]
INSTANT = ("--ttft-median-s", "0", "--inter-token-median-s", "0")
ARM_HEADERS = ("feature", "arm", "assigned", "model", "flag-version", "reason", "attempts")


class System(NamedTuple):
    """A running gateway between two simulators."""

    gateway: object
    url: str
    admin_url: str
    candidate_url: str
    baseline_url: str

    def client(self, api_key: str = KEY) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=api_key, max_retries=0, timeout=30)

    def operator(self) -> httpx2.Client:
        return httpx2.Client(
            base_url=f"{self.admin_url}/api/v1", headers={"authorization": f"Bearer {KEY}"}, timeout=30
        )

    def set_share(self, share_millipct: int) -> None:
        with self.operator() as operator:
            revision = operator.get("/features/summarize").headers["etag"]
            body = {"share_millipct": share_millipct, "reason": "contract test"}
            answer = operator.put("/features/summarize/share", json=body, headers={"if-match": revision})
            assert answer.status_code == 200, answer.text

    def kill(self, verb: str) -> None:
        with self.operator() as operator:
            answer = operator.post(f"/features/summarize/{verb}", json={"reason": "contract test"})
            assert answer.status_code == 200, answer.text

    def set_faults(self, which: str, *faults: dict[str, object]) -> None:
        answer = httpx2.post(f"{which}/simulator/faults", json={"faults": faults}, timeout=30)
        assert answer.status_code == 200, answer.text

    def started(self, which: str) -> int:
        return httpx2.get(f"{which}/simulator/stats", timeout=30).json()["requests"]["started"]

    def metrics(self) -> str:
        return httpx2.get(f"{self.admin_url}/metrics", timeout=30).text


def config(candidate: str, baseline: str) -> str:
    return f"""
[server]
port = 0
[admin]
port = 0
[upstreams.inhouse]
kind = "vllm"
base_urls = ["{candidate}/v1"]
model = "candidate-sim"
[upstreams.partner]
kind = "openai"
base_urls = ["{baseline}/v1"]
model = "baseline-sim"
[features.summarize]
candidate = "inhouse"
baseline = "partner"
"""


def simulator(start, model: str, *options: str) -> str:
    """Start a simulator; its origin."""
    process = start("simulator", "--port", "0", "--model", model, *(options or INSTANT))
    return process.shown(r"READY (http://\S+)/v1")[1]


def build(start, folder: Path, candidate: str, baseline: str) -> System:
    (folder / "glidepath.toml").write_text(config(candidate, baseline))
    gateway = start("gateway", "--config", "glidepath.toml", GLIDEPATH_BOOTSTRAP_KEY=KEY)
    url, admin_url = gateway.shown(r"gateway (http://\S+)/v1  operator (http://\S+)").groups()
    return System(gateway, url, admin_url, candidate, baseline)


@pytest.fixture(scope="module")
def running(module_command, module_folder: Path) -> System:
    candidate, baseline = (simulator(module_command, f"{arm}-sim") for arm in ("candidate", "baseline"))
    return build(module_command, module_folder, candidate, baseline)


@pytest.fixture
def system(running: System) -> System:
    """The shared system, everybody on the baseline."""
    running.kill("unkill")
    running.set_share(0)
    running.set_faults(running.candidate_url)
    running.set_faults(running.baseline_url)
    return running


@pytest.mark.parametrize(("share", "arm"), [(0, "baseline"), (100_000, "candidate")])
def test_chat(system: System, share: int, arm: str) -> None:
    system.set_share(share)
    answer = system.client().chat.completions.with_raw_response.create(
        model="copilot/summarize", messages=MESSAGES, extra_headers={"X-Request-Id": "mine-42"}
    )
    completion = answer.parse()
    assert completion.choices[0].message.content
    assert completion.usage.completion_tokens > 0
    assert completion.model == f"{arm}-sim"
    assert answer.headers["x-request-id"] == "mine-42"
    shown = {name: answer.headers[f"x-glidepath-{name}"] for name in ARM_HEADERS}
    assert shown.pop("flag-version").isdigit()
    assert shown == {
        "feature": "summarize",
        "arm": arm,
        "assigned": arm,
        "model": f"{arm}-sim",
        "reason": "SPLIT",
        "attempts": "1",
    }


@pytest.mark.parametrize("wanted", [False, True])
def test_chat_stream(system: System, *, wanted: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if wanted else {}
    stream = system.client().chat.completions.create(
        model="copilot/summarize", messages=MESSAGES, stream=True, **options
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    bare = [chunk for chunk in chunks if not chunk.choices]
    assert len(bare) == (1 if wanted else 0)
    assert all(chunk.usage.prompt_tokens > 0 for chunk in bare)


def test_the_bytes_of_a_stream(system: System) -> None:
    body = {"model": "copilot/summarize", "messages": MESSAGES, "stream": True}
    answer = httpx2.post(
        f"{system.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=30
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")
    assert "\r" not in answer.text


@pytest.mark.parametrize("stream", [False, True])
def test_text_completions(system: System, *, stream: bool) -> None:
    answer = system.client().completions.create(model="copilot/summarize", prompt="say something", stream=stream)
    text = "".join(chunk.choices[0].text for chunk in answer) if stream else answer.choices[0].text
    assert text


def test_models(system: System) -> None:
    assert {model.id for model in system.client().models.list()} >= {"copilot/summarize"}


def test_an_unknown_feature(system: System) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        system.client().chat.completions.create(model="copilot/sumarize", messages=MESSAGES)
    error = caught.value
    assert (error.code, error.param, error.type) == ("model_not_found", "model", "invalid_request_error")
    assert "`copilot/summarize`" in error.message


@pytest.mark.parametrize("stream", [False, True])
def test_a_bad_key(system: System, *, stream: bool) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        system.client("gp-wrong").chat.completions.create(model="copilot/summarize", messages=MESSAGES, stream=stream)
    assert caught.value.code == "invalid_api_key"


def test_a_bad_body(system: System) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        system.client().chat.completions.create(model="copilot/summarize", messages=MESSAGES, stream="yes")
    assert caught.value.param == "stream"


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/chat/completions"])
def test_wrong_paths_and_methods(system: System, path: str) -> None:
    error = httpx2.get(f"{system.url}{path}", timeout=30).json()["error"]
    assert set(error) == {"message", "type", "param", "code"}


def test_a_body_for_the_api_is_bounded(system: System) -> None:
    # Announced, so that the client waits for the refusal instead of meeting a reset.
    head = {"content-length": "3000000", "expect": "100-continue", "content-type": "application/json"}
    with socket.create_connection((urlsplit(system.url).hostname, urlsplit(system.url).port), timeout=30) as raw:
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        raw.sendall(f"POST /v1/feedback HTTP/1.1\r\nhost: h\r\n{lines}\r\n".encode() + b"x" * 262_145)
        answer = raw.recv(65_536).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"") or raw.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"request_too_large" in answer


def test_the_partners_limit_reaches_the_caller_with_its_wait(system: System) -> None:
    system.set_faults(system.baseline_url, {"kind": "status", "status": 429, "retry_after_s": 7})
    with pytest.raises(openai.RateLimitError) as caught:
        system.client().chat.completions.create(model="copilot/summarize", messages=MESSAGES)
    assert caught.value.response.headers["retry-after"] == "7"


def test_a_cut_stream_is_an_error_for_the_sdk(system: System) -> None:
    system.set_faults(system.baseline_url, {"kind": "cut_stream", "events": 3})
    stream = system.client().chat.completions.create(model="copilot/summarize", messages=MESSAGES, stream=True)
    got = []
    with pytest.raises(openai.APIError):
        got.extend(stream)
    assert 'outcome="truncated"' in system.metrics()


def test_feedback_counts_for_the_assigned_arm(system: System) -> None:
    system.set_share(100_000)
    system.set_faults(system.candidate_url, {"kind": "status", "status": 503})
    answer = system.client().chat.completions.with_raw_response.create(model="copilot/summarize", messages=MESSAGES)
    assert answer.headers["x-glidepath-assigned"] == "candidate"
    assert (answer.headers["x-glidepath-arm"], answer.headers["x-glidepath-attempts"]) == ("baseline", "2")
    given = httpx2.post(
        f"{system.url}/v1/feedback",
        json={"request_id": answer.headers["x-request-id"], "rating": -1},
        headers={"authorization": f"Bearer {KEY}"},
        timeout=30,
    )
    assert given.status_code == 200
    assert 'glidepath_feedback_total{arm="candidate",feature="summarize",kind="rating"} 1.0' in system.metrics()


async def arms(system: System, conversations: list[str]) -> dict[str, str]:
    """The arm each conversation is assigned to now."""
    limit = asyncio.Semaphore(32)
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    async with httpx2.AsyncClient(base_url=system.url, headers=headers, timeout=30) as client:

        async def ask(conversation: str) -> str:
            body = json.dumps({"model": "copilot/summarize", "messages": MESSAGES})
            async with limit:
                answer = await client.post(
                    "/v1/chat/completions", content=body, headers={"x-conversation-id": conversation}
                )
            assert answer.status_code == 200
            return answer.headers["x-glidepath-assigned"]

        return dict(zip(conversations, await asyncio.gather(*map(ask, conversations)), strict=True))


async def started_above(system: System, which: str, count: int) -> None:
    """Wait until a simulator has begun more than `count` requests."""
    async with asyncio.timeout(30):
        while await asyncio.to_thread(system.started, which) <= count:  # noqa: ASYNC110  another process counts
            await asyncio.sleep(0.01)


async def test_a_share_grows_as_asked_and_nobody_flips_back(system: System) -> None:
    on_candidate: set[str] = set()
    for share in SHARES:
        before = system.started(system.candidate_url)
        await asyncio.to_thread(system.set_share, share)
        assigned = await arms(system, CONVERSATIONS)
        now = {conversation for conversation, arm in assigned.items() if arm == "candidate"}
        expected, total = share / 100_000, len(CONVERSATIONS)
        spread = 4.5 * (expected * (1 - expected) * total) ** 0.5
        assert abs(len(now) - expected * total) <= spread, f"{len(now)} of {total} at {share}"
        assert on_candidate <= now
        assert system.started(system.candidate_url) - before == len(now)
        again = await arms(system, CONVERSATIONS[:100])
        assert again == {conversation: assigned[conversation] for conversation in CONVERSATIONS[:100]}
        on_candidate = now


async def test_a_kill_stops_candidate_requests_within_a_second_and_is_lifted_without_a_trace(system: System) -> None:
    system.set_share(50_000)
    before = await arms(system, CONVERSATIONS[:200])
    ended = asyncio.Event()

    async def keep_calling() -> None:
        while not ended.is_set():
            await arms(system, CONVERSATIONS[:50])

    calling = asyncio.create_task(keep_calling())
    seen = system.started(system.candidate_url)
    await started_above(system, system.candidate_url, seen)
    await asyncio.to_thread(system.kill, "kill")
    killed_at_s = time.monotonic()
    await asyncio.sleep(1.0)
    after_bound = await asyncio.to_thread(system.started, system.candidate_url)
    total = await asyncio.to_thread(system.started, system.baseline_url)
    await started_above(system, system.baseline_url, total + 100)
    ended.set()
    await calling
    assert time.monotonic() > killed_at_s + 1.0
    assert await asyncio.to_thread(system.started, system.candidate_url) == after_bound
    assert set((await arms(system, CONVERSATIONS[:20])).values()) == {"baseline"}
    await asyncio.to_thread(system.kill, "unkill")
    assert await arms(system, CONVERSATIONS[:200]) == before


def test_the_command_line_moves_the_share(system: System, module_command) -> None:
    environment = {"GLIDEPATH_ADMIN_URL": system.admin_url, "GLIDEPATH_API_KEY": KEY}
    moved = module_command("rollout", "set-share", "summarize", "25%", "--reason", "by command", **environment)
    assert moved.end() == 0, moved.stderr
    shown = module_command("rollout", "get", "-o", "json", **environment)
    assert shown.end() == 0, shown.stderr
    assert '"share_millipct": 25000' in shown.stdout
    assert 'glidepath_share_ratio{feature="summarize"} 0.25' in system.metrics()


@pytest.fixture
def own(command, tmp_path: Path):
    """A system of the test's own, its upstreams given or started."""

    def start(candidate: str | None = None, baseline: str | None = None) -> System:
        return build(
            command,
            tmp_path,
            candidate or simulator(command, "candidate-sim"),
            baseline or simulator(command, "baseline-sim"),
        )

    return start


def test_no_upstream_at_all(own) -> None:
    nowhere = "http://127.0.0.1:9"
    system = own(nowhere, nowhere)
    for share in (0, 100_000):
        system.set_share(share)
        with pytest.raises(openai.InternalServerError) as caught:
            system.client().chat.completions.create(model="copilot/summarize", messages=MESSAGES)
        assert caught.value.status_code == 503
        assert caught.value.code == "upstream_unreachable"
        assert int(caught.value.response.headers["retry-after"]) >= 1
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert system.gateway.stop() == 0


@pytest.fixture
def slow(own, command) -> System:
    """A system whose partner takes about two seconds for a stream."""
    baseline = simulator(
        command, "baseline-sim", "--ttft-median-s", "0.05", "--inter-token-median-s", "0.05", "--generic-tokens", "40"
    )
    return own("http://127.0.0.1:9", baseline)


def test_on_sigterm_a_begun_stream_ends_and_then_the_process(slow: System) -> None:
    stream = slow.client().chat.completions.create(model="copilot/summarize", messages=MESSAGES, stream=True)
    chunks = [next(stream)]
    slow.gateway.process.terminate()
    chunks.extend(stream)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert slow.gateway.stop() == 0
    assert slow.gateway.stderr == ""
    with pytest.raises(openai.APIConnectionError):
        slow.client().models.list()


def test_when_the_caller_goes_the_upstream_sees_it_within_a_second(slow: System) -> None:
    stream = slow.client().chat.completions.create(model="copilot/summarize", messages=MESSAGES, stream=True)
    next(stream)
    stream.close()
    left_at_s = time.time()
    limit_s = time.monotonic() + 30
    aborts: list[dict[str, float]] = []
    while not aborts and time.monotonic() < limit_s:
        aborts = httpx2.get(f"{slow.baseline_url}/simulator/stats", timeout=30).json()["aborts"]
        time.sleep(0.02)
    assert aborts
    assert aborts[0]["at_s"] - left_at_s < 1.0
    assert slow.gateway.stop() == 0


def test_the_share_survives_a_restart(own, command) -> None:
    system = own()
    system.set_share(37_000)
    assert system.gateway.stop() == 0
    again = command("gateway", "--config", "glidepath.toml", GLIDEPATH_BOOTSTRAP_KEY=KEY)
    admin_url = again.shown(r"operator (http://\S+)")[1]
    answer = httpx2.get(
        f"{admin_url}/api/v1/features/summarize", headers={"authorization": f"Bearer {KEY}"}, timeout=30
    )
    assert answer.json()["share_millipct"] == 37_000
    assert again.stop() == 0
