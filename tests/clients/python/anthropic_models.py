"""The list of models with the official anthropic package."""

from __future__ import annotations

import anthropic
from checks import API_KEY, BASE_URL, MODEL, check, main

CLIENT = anthropic.Anthropic(base_url=BASE_URL.removesuffix("/v1"), api_key=API_KEY, max_retries=0, timeout=30)


@check
def models() -> None:
    assert MODEL in [model.id for model in CLIENT.models.list()]


@check
def one_model() -> None:
    assert CLIENT.models.retrieve(MODEL).display_name


main()
