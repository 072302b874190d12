"""What one worker is made of, wired together."""

from __future__ import annotations

import secrets
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from gateway.app import build_app
from gateway.feedback import AnswerIndex
from gateway.gauges import worker_gauges
from gateway.http.port import PublicPort
from gateway.http.server import relay_protocol
from gateway.metrics import Metrics
from gateway.recorder import Recorder
from gateway.relay import Relay
from gateway.upstream import build_upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.auth import Keyring
    from gateway.feedback import Others
    from gateway.settings import Settings
    from rollout.follower import Follower

RELAY_PATHS = {b"/v1/chat/completions": "chat", b"/v1/completions": "text_completion"}


class Parts(NamedTuple):
    """The relay stack of one worker."""

    relay: Relay
    recorder: Recorder
    metrics: Metrics
    answers: AnswerIndex
    port: PublicPort


def build_parts(
    settings: Settings,
    api_keys: Mapping[str, str | None],
    keyring: Keyring,
    follower: Follower,
    *,
    unready: Callable[[], str | None],
    others: Others,
) -> Parts:
    """Make the relay stack; opens no connection."""
    metrics = Metrics()
    answers = AnswerIndex(metrics)
    recorder = Recorder(metrics, answers)
    numbers, prefix = count(), secrets.token_hex(6)
    relay = Relay(
        keyring=keyring,
        snapshot=lambda: follower.snapshot,
        upstreams={name: build_upstream(name, each, api_keys[name]) for name, each in settings.upstreams.items()},
        record=recorder.record,
        next_request_id=lambda: f"req_{prefix}{next(numbers):08x}",
    )
    metrics.add_source(worker_gauges(relay, follower))
    app = build_app(relay, recorder, answers, unready, others)
    protocol = relay_protocol(relay.accept, RELAY_PATHS, body_max_bytes=settings.server.body_max_bytes)
    port = PublicPort(app, protocol, keep_alive_s=settings.server.keep_alive_s)
    return Parts(relay, recorder, metrics, answers, port)
