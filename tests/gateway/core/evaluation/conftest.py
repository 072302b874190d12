"""Trials that need no model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.core.evaluation.answers import EvalAnswer
from gateway.core.evaluation.prompt_set import EvalPrompt, body_of
from gateway.core.evaluation.scoring import Scorer
from gateway.core.evaluation.summary import Trial, judged

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def trial() -> Callable[..., Trial]:
    """A trial out of a prompt's members and what both arms answered (None: nothing)."""

    def make(candidate: str | None, baseline: str | None, **members: object) -> Trial:
        prompt = EvalPrompt(**({"prompt": "What is asked here?"} | members))  # type: ignore[arg-type]
        body = body_of(prompt, "m", {})

        def answer(arm: str, text: str | None) -> EvalAnswer:
            if text is None:
                return EvalAnswer("k", arm, problem="status_500")
            return EvalAnswer(
                "k", arm, text=text, ending="stop", ttft_s=0.1, duration_s=0.5, prompt_tokens=10, completion_tokens=5
            )

        both = (
            judged(prompt, body, answer(arm, text), Scorer.EXACT)
            for arm, text in (("candidate", candidate), ("baseline", baseline))
        )
        return Trial(prompt, *both)

    return make
