"""Live traffic through the gateway: a fixed number of callers, each answer timed, scored and rated."""

import asyncio
import time
from collections.abc import Callable

import httpx2

from loadtests.demo.plan import CONCURRENCY
from loadtests.demo.sample import Sample
from loadtests.demo.source import Draw, Source
from loadtests.stream import StreamRecorder, StreamResult, observe_body
from loadtests.workload import PATH, exact_match

_OK = 200
_LIMIT_S = 60.0
_AFTER_A_FAULT_S = 0.2

Clock = Callable[[], float]


class Traffic:
    """Callers that take requests from `source` and leave samples and feedback. `samples` grows as answers end."""

    def __init__(self, base_url: str, api_key: str, source: Source, clock: Clock = time.perf_counter) -> None:
        self.samples: list[Sample] = []
        self.feedback_problems: list[str] = []
        self.source = source
        self._clock = clock
        self._panel_under_way = 0
        self._panel_idle = asyncio.Event()
        self._ending = False
        # A proxy in the environment is meant for the internet, not for a local gateway.
        self._http = httpx2.AsyncClient(
            base_url=base_url,
            headers={"authorization": f"Bearer {api_key}", "accept-encoding": "identity"},
            limits=httpx2.Limits(max_connections=2 * CONCURRENCY),
            timeout=_LIMIT_S,
            trust_env=False,
        )

    async def run(self) -> None:
        """Send until `end` is called and every answer is in."""
        async with self._http, asyncio.TaskGroup() as callers:
            for _ in range(CONCURRENCY):
                callers.create_task(self._caller())

    def end(self) -> None:
        """Begin no more requests."""
        self._ending = True

    async def panel_through(self, rounds: int) -> None:
        """Let the panel come and wait until its last answer is in."""
        if rounds:
            self._panel_idle.clear()
            self.source.call_panel(rounds)
            await self._panel_idle.wait()

    async def _caller(self) -> None:
        while not self._ending:
            draw = self.source.draw()
            self._panel_under_way += draw.panel
            try:
                sample = await self._call(draw)
            finally:
                self._panel_under_way -= draw.panel
            self.samples.append(sample)
            if not (self.source.panel_waiting or self._panel_under_way):
                self._panel_idle.set()
            if sample.problem is None:
                await self._rate(sample)
            else:
                # Whoever fails at once must not be asked thousands of times a second.
                await asyncio.sleep(_AFTER_A_FAULT_S)

    async def _call(self, draw: Draw) -> Sample:
        request = draw.request
        sample = Sample(draw.feature, request.conversation, draw.panel, self._clock())
        headers = {"content-type": "application/json", "x-conversation-id": request.conversation}
        try:
            async with self._http.stream("POST", PATH, content=request.body, headers=headers) as answer:
                sample = _with_headers(sample, answer)
                if answer.status_code != _OK:
                    return sample._replace(problem=f"status {answer.status_code}")
                seen = await self._read(answer, sample.started_s, stream=request.stream)
        except httpx2.RequestError as fault:
            return sample._replace(problem=f"connection: {type(fault).__name__}")
        if seen.problem is not None:
            return sample._replace(problem=seen.problem)
        matched = exact_match(seen.text, request.reference)
        return sample._replace(ttft_s=seen.ttft_s, e2e_s=seen.e2e_s, matched=matched)

    async def _read(self, answer: httpx2.Response, started_s: float, *, stream: bool) -> StreamResult:
        if not stream:
            seen = observe_body(await answer.aread())
            e2e_s = self._clock() - started_s
            return StreamResult(e2e_s, None, (), seen.text, seen.finish_reason, seen.usage, seen.done, seen.error)
        recorder = StreamRecorder(started_s)
        async for data in answer.aiter_raw():
            recorder.feed(data, self._clock())
        return recorder.finish(self._clock())

    async def _rate(self, sample: Sample) -> None:
        """Tell the gateway whether the answer was right."""
        if sample.matched is None:
            return
        feedback = {"request_id": sample.request_id, "score": float(sample.matched)}
        try:
            answer = await self._http.post("/feedback", json=feedback)
        except httpx2.RequestError as fault:
            self.feedback_problems.append(type(fault).__name__)
            return
        if answer.status_code != _OK:
            self.feedback_problems.append(f"status {answer.status_code}")


def _with_headers(sample: Sample, answer: httpx2.Response) -> Sample:
    """Add what the answer's headers say; an error answer from before the decision lacks most of them."""
    headers = answer.headers
    version = headers.get("x-glidepath-flag-version", "")
    return sample._replace(
        request_id=headers.get("x-request-id"),
        assigned=headers.get("x-glidepath-assigned"),
        served=headers.get("x-glidepath-arm"),
        reason=headers.get("x-glidepath-reason"),
        revision=int(version) if version.isdigit() else None,
    )
