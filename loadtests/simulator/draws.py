"""Seeded draws and the latency schedule: the same seed, prompt and repetition always give the same times.

A draw is a pure function of a 128-bit key and a stream number, so nothing here keeps state and concurrent requests
cannot change each other's luck.
"""

import math
from statistics import NormalDist
from typing import Annotated, Final, NamedTuple

import mmh3
import msgspec

Median = Annotated[float, msgspec.Meta(ge=0, le=600)]
Sigma = Annotated[float, msgspec.Meta(ge=0, le=5)]

_MASK: Final = (1 << 64) - 1
_NORMAL: Final = NormalDist()

# Streams of draws of one request; gaps take every number from GAPS up.
ACCURACY: Final = 0
CORRUPTION: Final = 1
TTFT: Final = 2
GAPS: Final = 16


class Latency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lognormal time to first token and inter-token gap: medians in seconds, sigma of the logarithm."""

    ttft_median_s: Median = 0.12
    ttft_sigma: Sigma = 0.35
    inter_token_median_s: Median = 0.008
    inter_token_sigma: Sigma = 0.25


class Schedule(NamedTuple):
    """When the tokens of one answer are due, in seconds after the request arrived: first token, then each later one."""

    tokens_s: tuple[float, ...]

    @property
    def ttft_s(self) -> float:
        """Return when the first token is due."""
        return self.tokens_s[0]

    @property
    def total_s(self) -> float:
        """Return when the last token is due."""
        return self.tokens_s[-1]


def key_of(seed: int, text: str, repetition: int = 0) -> int:
    """Return the 128-bit key of `text` asked for the `repetition`-th time under `seed`."""
    return mmh3.hash128(f"{seed}\0{repetition}\0{text}".encode("utf-8", "surrogatepass"))


def word(key: int, stream: int) -> int:
    """Return draw number `stream` of `key` as 64 uniform bits (splitmix64's finaliser over the folded key)."""
    bits = ((key ^ (key >> 64)) + (stream + 1) * 0x9E3779B97F4A7C15) & _MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return bits ^ (bits >> 31)


def uniform(key: int, stream: int) -> float:
    """Return draw number `stream` of `key` as a number strictly between 0 and 1."""
    return ((word(key, stream) >> 12) + 0.5) / (1 << 52)


def lognormal(median: float, sigma: float, key: int, stream: int) -> float:
    """Return one lognormal draw; exactly `median` when sigma is 0, and 0 when the median is."""
    if not median or not sigma:
        return median
    return median * math.exp(sigma * _NORMAL.inv_cdf(uniform(key, stream)))


def schedule(latency: Latency, key: int, tokens: int) -> Schedule:
    """Return when each of `tokens` (at least one is scheduled) tokens is due."""
    count = max(tokens, 1)
    due_s = lognormal(latency.ttft_median_s, latency.ttft_sigma, key, TTFT)
    median_s, sigma = latency.inter_token_median_s, latency.inter_token_sigma
    if not median_s:
        return Schedule((due_s,) * count)
    times = [due_s]
    for index in range(1, count):
        due_s += lognormal(median_s, sigma, key, GAPS + index)
        times.append(due_s)
    return Schedule(tuple(times))
