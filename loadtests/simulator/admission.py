"""Who may ask for what: keys as each vendor sends them, model names, and answers that can be continued."""

import difflib
from collections.abc import Mapping
from typing import Final

from loadtests.simulator.wire import Api, WireError

_NAME_SHOWN: Final = 200
_REMEMBERED: Final = 10_000


def authorize(api: Api, headers: Mapping[bytes, bytes], wanted: str | None) -> None:
    """Check the key, and for Anthropic's endpoint the version; raises WireError (401, 400)."""
    if wanted is not None and (given := _key(api, headers)) != wanted.encode():
        message = "You didn't provide an API key." if given is None else "Incorrect API key provided."
        raise WireError(401, message, code="invalid_api_key")
    if api is Api.MESSAGES and not headers.get(b"anthropic-version"):
        raise WireError(400, "anthropic-version: header is required")


def _key(api: Api, headers: Mapping[bytes, bytes]) -> bytes | None:
    own = headers.get(b"x-api-key" if api is Api.MESSAGES else b"api-key")
    if own is not None:
        return own
    bearer = headers.get(b"authorization", b"")
    return bearer.removeprefix(b"Bearer ") if bearer.startswith(b"Bearer ") else None


def check_model(model: str, known: tuple[str, ...]) -> None:
    """Raise WireError (404) for a model that isn't served, with the nearest that is."""
    if model in known:
        return
    shown = model[:_NAME_SHOWN]
    nearest = difflib.get_close_matches(shown, known, n=1) or known[:1]
    message = f"The model `{shown}` does not exist (this is a simulator; it has `{nearest[0]}`)."
    raise WireError(404, message, code="model_not_found")


class Remembered:
    """The last answers that a later request may continue, and how many tokens their conversations hold."""

    def __init__(self) -> None:
        self._tokens: dict[str, int] = {}

    def keep(self, identifier: str, tokens: int) -> None:
        """Remember an answer; the oldest is forgotten for it when there are many."""
        self._tokens[identifier] = tokens
        if len(self._tokens) > _REMEMBERED:
            del self._tokens[next(iter(self._tokens))]

    def tokens(self, identifier: str) -> int:
        """Return the tokens before this answer's end; raises WireError (400) when it isn't remembered."""
        found = self._tokens.get(identifier)
        if found is None:
            message = f"Previous response with id '{identifier[:_NAME_SHOWN]}' not found."
            raise WireError(400, message, param="previous_response_id", code="previous_response_not_found")
        return found
