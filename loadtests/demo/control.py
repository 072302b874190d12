"""The operator's side of the demo: ramps, shares and kills over the operator API, and what /metrics pages say."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from loadtests.demo.course import Standing, standing_of
from loadtests.demo.errors import ConflictError, DemoError
from loadtests.demo.judge import Quality

_LIMIT_S = 60.0
_REASON = "glidepath demo"
_ATTEMPTS = 5
_HISTORY = 500
_CONFLICT = 412
_ENGINE_REQUESTS = "vllm:request_success_total"
_QUALITY = {"glidepath_quality_score_units": "units", "glidepath_quality_score_sum": "total"}


class Operator:
    """A client of one gateway's admin port. Every fault is a DemoError."""

    def __init__(self, admin_url: str, api_key: str, log: Path | None = None) -> None:
        """`log`: the gateway's, for hints."""
        self._hint = "see the gateway's log" + ("" if log is None else f", {log}")
        self._http = httpx2.AsyncClient(
            base_url=admin_url, headers={"authorization": f"Bearer {api_key}"}, timeout=_LIMIT_S, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def standing(self, feature: str) -> Standing:
        """Return how a feature's ramp stands."""
        return standing_of(await self._call("GET", f"/features/{feature}"))

    async def history(self, feature: str) -> Sequence[Mapping[str, Any]]:
        """Return the newest entries of a feature's audit log, newest first."""
        page = await self._call("GET", f"/features/{feature}/history?limit={_HISTORY}")
        return list(page["entries"])

    async def apply(self, document: Mapping[str, Any]) -> None:
        """Bring a document of some features into force; ramps that are over are begun anew."""
        await self._call("PUT", f"/documents?anew=true&reason={_REASON.replace(' ', '+')}", document)

    async def plan(self, feature: str, units_per_s: float) -> list[str]:
        """Return what each step of a feature's ramp needs at that traffic, a line each."""
        answer = await self._call("POST", f"/features/{feature}/plan?units_per_s={units_per_s:.3f}")
        return [str(step["text"]) for step in answer["steps"]]

    async def ramp(self, feature: str, verb: str) -> None:
        """Give a command to a feature's ramp, at whatever revision it is."""
        for attempt in range(1, _ATTEMPTS + 1):
            revision = (await self._call("GET", f"/features/{feature}"))["revision"]
            try:
                match = {"if-match": f'"{revision}"'}
                await self._call("POST", f"/features/{feature}/ramp/{verb}", {"reason": _REASON}, match)
            except ConflictError:  # the controller was faster
                if attempt == _ATTEMPTS:
                    raise
            else:
                return

    async def set_share(self, feature: str, share_millipct: int) -> int:
        """Set a feature's share and return the revision in force."""
        current = await self._call("GET", f"/features/{feature}")
        if current["share_millipct"] == share_millipct:
            return int(current["revision"])
        change = {"share_millipct": share_millipct, "reason": _REASON}
        match = {"if-match": f'"{current["revision"]}"'}
        return int((await self._call("PUT", f"/features/{feature}/share", change, match))["revision"])

    async def kill(self, feature: str) -> int:
        """Pull a feature's kill switch and return the revision in force."""
        return await self._switch(feature, "kill")

    async def unkill(self, feature: str) -> int:
        """Lift a feature's kill, if there is one, and return the revision in force."""
        return await self._switch(feature, "unkill")

    async def cost(self, feature: str) -> Mapping[str, Any]:
        """Return what the operator API says of a feature's cost."""
        return await self._call("GET", f"/features/{feature}/cost")

    async def quality(self) -> dict[tuple[str, str], Quality]:
        """Return what the gateway measured from feedback, by (feature, assigned arm)."""
        return quality_of(await fetch(self._http, "/metrics", self._hint))

    async def _switch(self, feature: str, verb: str) -> int:
        answer = await self._call("POST", f"/features/{feature}/{verb}", {"reason": _REASON})
        if answer["flag"] is None:
            raise DemoError(f"the {verb} of {feature} did not reach the store: {answer['store']}", self._hint)
        return int(answer["flag"]["revision"])

    async def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        try:
            answer = await self._http.request(method, f"/api/v1{path}", json=body, headers=headers)
            content = _content(answer)
        except (httpx2.RequestError, ValueError) as fault:
            cause = f"the operator API gave no answer to {method} {path}: {fault or type(fault).__name__}"
            raise DemoError(cause, self._hint) from None
        if not answer.is_success:
            cause = f"the operator API refused {method} {path}: {content.get('detail', answer.status_code)}"
            kind = ConflictError if answer.status_code == _CONFLICT else DemoError
            raise kind(cause, str(content.get("hint") or self._hint))
        return dict(content)


def _content(answer: httpx2.Response) -> dict[str, Any]:
    """Return the object it holds; {} of a refusal without one. ValueError where there should be one."""
    with contextlib.suppress(ValueError):
        content = answer.json()
        if isinstance(content, dict):
            return content
    if answer.is_success:
        raise ValueError("it is no JSON object")
    return {}


async def fetch(client: httpx2.AsyncClient, url: str, hint: str) -> str:
    """GET a page of metrics. Raises DemoError."""
    try:
        answer = (await client.get(url)).raise_for_status()
    except httpx2.HTTPError as fault:
        raise DemoError(f"no metrics from {url}: {fault or type(fault).__name__}", hint) from None
    return answer.text


async def engine_requests(vllm_url: str) -> int:
    """Return how many requests vLLM has finished. Raises DemoError."""
    async with httpx2.AsyncClient(timeout=_LIMIT_S, trust_env=False) as client:
        return engine_requests_of(await fetch(client, f"{vllm_url}/metrics", "see vLLM's log, beside the gateway's"))


def engine_requests_of(page: str) -> int:
    """Return the finished requests of a vLLM metrics page; aborted ones were not answered."""
    samples = (sample for family in text_string_to_metric_families(page) for sample in family.samples)
    return round(
        sum(
            sample.value
            for sample in samples
            if sample.name == _ENGINE_REQUESTS and sample.labels.get("finished_reason") != "abort"
        )
    )


def quality_of(page: str) -> dict[tuple[str, str], Quality]:
    """Return the quality sums of a gateway's metrics page by (feature, arm), from scores only."""
    found: dict[tuple[str, str], Quality] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            field = _QUALITY.get(sample.name)
            if field is not None and sample.labels["kind"] == "score":
                key = sample.labels["feature"], sample.labels["arm"]
                found[key] = found.get(key, Quality(0.0, 0.0))._replace(**{field: sample.value})
    return found
