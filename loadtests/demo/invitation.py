"""What `glidepath up` prints once it is up: addresses, the key, and a line to copy (pure)."""

import json
import shlex
from collections.abc import Sequence

from loadtests.demo.plan import MOVING
from loadtests.demo.stack import Running
from loadtests.prompts import Prompt


def invitation(running: Running, prompts: Sequence[Prompt]) -> str:
    """Return the lines."""
    prompt = next(prompt for prompt in prompts if prompt.task == MOVING)
    return "\n".join(
        (
            "",
            f"gateway    {running.gateway_url}/v1",
            f"operator   {running.admin_url}/api/v1   (metrics: {running.admin_url}/metrics)",
            f"vLLM       {running.vllm_url}/v1",
            *([] if running.prometheus_url is None else [f"Prometheus {running.prometheus_url}"]),
            f"key        {running.api_key}",
            "",
            "ask a feature:",
            f"  {curl_line(running, prompt)}",
            "",
            "move its share (in another terminal):",
            f"  {share_line(running)}",
            "",
            "Ctrl-C stops everything.",
        )
    )


def curl_line(running: Running, prompt: Prompt) -> str:
    """Return a command that streams one answer."""
    messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
    body = json.dumps({"model": f"copilot/{MOVING}", "stream": True, "messages": messages}, ensure_ascii=False)
    command = ("curl", "-sSN", f"{running.gateway_url}/v1/chat/completions")
    headers = (f"authorization: Bearer {running.api_key}", "content-type: application/json")
    return shlex.join((*command, *(part for header in headers for part in ("-H", header)), "-d", body))


def share_line(running: Running) -> str:
    """Return a command that moves the share of the feature."""
    options = ("--admin-url", running.admin_url, "--api-key", running.api_key)
    return shlex.join(("glidepath", "rollout", "set-share", MOVING, "25%", "--reason", "a first look", *options))
