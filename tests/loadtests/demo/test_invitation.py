import json
import shlex
from pathlib import Path

from loadtests.demo.invitation import curl_line, invitation, share_line
from loadtests.demo.stack import Running
from loadtests.prompts import Message, Prompt

RUNNING = Running(
    gateway_url="http://127.0.0.1:8080",
    admin_url="http://127.0.0.1:8081",
    engines={"inhouse": "http://127.0.0.1:8000"},
    simulator_url="http://127.0.0.1:9000",
    prometheus_url="http://127.0.0.1:9090",
    api_key="gp-key",
    prompts=Path("x"),
)
PROMPT = Prompt("summarize", (Message("user", 'Don\'t "wait":\n$HOME `ls` ü'),), "answer")


def test_the_curl_line_survives_a_shell() -> None:
    words = shlex.split(curl_line(RUNNING, PROMPT))
    assert words[:3] == ["curl", "-sSN", "http://127.0.0.1:8080/v1/chat/completions"]
    assert "authorization: Bearer gp-key" in words
    assert "\n" not in curl_line(RUNNING, PROMPT)
    body = json.loads(words[-1])
    assert body["model"] == "copilot/summarize"
    assert body["messages"] == [{"role": "user", "content": PROMPT.question}]


def test_the_share_line_reaches_the_operator_port() -> None:
    words = shlex.split(share_line(RUNNING))
    assert words[:5] == ["glidepath", "rollout", "set-share", "summarize", "25%"]
    assert words[words.index("--admin-url") + 1] == RUNNING.admin_url


def test_all_that_is_needed_is_said() -> None:
    text = invitation(RUNNING, [Prompt("draft", PROMPT.messages), PROMPT])
    for part in (RUNNING.gateway_url, RUNNING.admin_url, RUNNING.vllm_url, RUNNING.api_key, curl_line(RUNNING, PROMPT)):
        assert part in text
    assert "Prometheus http://127.0.0.1:9090\n" in text


def test_a_stack_without_prometheus_names_none() -> None:
    assert "Prometheus" not in invitation(RUNNING._replace(prometheus_url=None), [PROMPT])
