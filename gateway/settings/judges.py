"""`[judges.NAME]`: who compares the answers of both arms, by what rubric, and how often it may be asked."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from gateway.core.judging.references import Scorer
from gateway.settings.upstreams import TlsSettings, checked_proxy, is_base_url
from gateway.settings.values import Count, Name, Seconds, Section, Text

_OURS = frozenset({"model", "messages", "stream", "n", "tools", "tool_choice", "functions"})
_OF_REFERENCES = frozenset({"file", "scorer"})
_OF_BOTH = frozenset({"kind", "stale_s"})
Line = Annotated[str, Field(max_length=1_024, pattern=r"^[^\x00-\x1f\x7f]*$")]
Chars = Annotated[int, Field(ge=200, le=1_000_000)]


class JudgeSettings(Section):
    """One judge: a model behind any endpoint with OpenAI's chat completions. `concurrent` is per worker.

    What changes prompt, rubric, model or `parameters` makes scores of another version, and evidence starts afresh.
    Or, of kind `references`, no model at all but a file of right answers, and how answers are held against them.
    """

    kind: Literal["model", "references"] = "model"
    file: Text | None = None
    scorer: Scorer = Scorer.SAME_WORDS
    """For lines of `file` that name none."""
    url: Line = ""
    """As a base URL of an upstream: http://127.0.0.1:8000/v1."""
    model: Line = ""
    api_key_env: str | None = None
    region: Name | None = None
    """Tenants that are bound to regions are shown to judges of these regions only."""
    rubric: Annotated[str, Field(min_length=1, max_length=16_384)] | None = None
    rubric_file: Text | None = None
    pairs_per_day: Count = 1_000
    """Over all workers and replicas, per UTC day; a pair is two questions."""
    concurrent: Annotated[int, Field(ge=1, le=256)] = 4
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 60
    """For one whole answer."""
    stale_s: Seconds = 900
    """A pair that has waited so long is not judged any more."""
    request_max_chars: Chars = 24_000
    answer_max_chars: Chars = 12_000
    parameters: dict[str, Any] = Field(default_factory=lambda: {"temperature": 0, "max_tokens": 512})
    """More of the request's body, as it is sent."""
    proxy_url: str | None = None
    proxy_credentials_env: str | None = None
    tls: TlsSettings = TlsSettings()

    @field_validator("url")
    @classmethod
    def _usable_url(cls, url: str) -> str:
        if url and not is_base_url(url):
            raise ValueError(f"{url!r} is not a base URL such as http://127.0.0.1:8000/v1")
        return url

    @field_validator("parameters")
    @classmethod
    def _not_ours(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        ours = sorted(_OURS & set(parameters))
        if ours:
            raise ValueError(f"{', '.join(ours)}: not for parameters, the gateway sets it")
        return parameters

    @field_validator("proxy_url")
    @classmethod
    def _usable_proxy(cls, url: str | None) -> str | None:
        return checked_proxy(url)

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        needed = ("url", "model") if self.kind == "model" else ("file",)
        missing = [name for name in needed if not getattr(self, name)]
        if missing:
            raise ValueError(f"kind {self.kind!r} needs {' and '.join(missing)}")
        fields = type(self).model_fields.items()
        given = {name for name, field in fields if getattr(self, name) != field.get_default(call_default_factory=True)}
        strange = given & _OF_REFERENCES if self.kind == "model" else given - _OF_REFERENCES - _OF_BOTH
        if strange:
            raise ValueError(f"{', '.join(sorted(strange))}: not for kind {self.kind!r}")
        return self

    @model_validator(mode="after")
    def _one_rubric(self) -> Self:
        if self.rubric is not None and self.rubric_file is not None:
            raise ValueError("give rubric or rubric_file, not both")
        return self
