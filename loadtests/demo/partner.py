"""Who plays the partner: the simulator, or a real one when the environment names it (pure)."""

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from loadtests.demo.errors import PartnerSettingsError

KEY: Final = "OPENAI_API_KEY"
MODEL: Final = "GLIDEPATH_PARTNER_MODEL"
BASE_URL: Final = "GLIDEPATH_PARTNER_BASE_URL"
SIMULATED_MODEL: Final = "simulated-partner"
_OPENAI_URL: Final = "https://api.openai.com/v1"
_OPENAI_MODEL: Final = "gpt-4.1-mini"


class Price(NamedTuple):
    """US dollars per million tokens."""

    input_usd: float
    output_usd: float


_LIST_PRICES: Final = {_OPENAI_MODEL: Price(0.4, 1.6)}
"""As the vendor lists them."""
SIMULATED_PRICE: Final = _LIST_PRICES[_OPENAI_MODEL]
"""Play money."""


class Partner(NamedTuple):
    """Where the baseline's requests go. `key_variable` names the variable that holds the key, None for no key.

    `price` is None where nobody told us.
    """

    simulated: bool
    base_url: str
    model: str
    key_variable: str | None
    price: Price | None = None

    @property
    def warning(self) -> str | None:
        """Return what must be said before the first request; None for the simulator, which costs nothing."""
        if self.simulated:
            return None
        host = urlsplit(self.base_url).hostname
        return (
            f"REAL PARTNER: requests go to the model {self.model} at {host} and COST MONEY (some thousand short chat "
            f"requests per demo). Unset {KEY} and {MODEL} to use the simulator."
        )


def choose_partner(environment: Mapping[str, str], simulator_url: str) -> Partner:
    """Return the partner: the real one if a key or a partner's model is set. Raises PartnerSettingsError."""
    key, model, base_url = (environment.get(name, "").strip() for name in (KEY, MODEL, BASE_URL))
    if not key and not model:
        return Partner(
            simulated=True, base_url=simulator_url, model=SIMULATED_MODEL, key_variable=None, price=SIMULATED_PRICE
        )
    if not key and not base_url:
        cause = f"{MODEL} is set, but neither {KEY} nor {BASE_URL}"
        raise PartnerSettingsError(cause, f"export {KEY}=..., or unset {MODEL} to use the simulator")
    if base_url and (urlsplit(base_url).scheme not in {"http", "https"} or not urlsplit(base_url).hostname):
        raise PartnerSettingsError(f"{BASE_URL} is no base URL: {base_url!r}", f"such as {_OPENAI_URL}")
    return Partner(
        simulated=False,
        base_url=base_url or _OPENAI_URL,
        model=model or _OPENAI_MODEL,
        key_variable=KEY if key else None,
        price=_LIST_PRICES.get(model or _OPENAI_MODEL),
    )
