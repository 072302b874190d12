from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from serving.demo_model.intents import TASKS
from serving.demo_model.prompts import evaluation_prompts, write_prompts

if TYPE_CHECKING:
    from pathlib import Path


def test_lines_follow_the_schema(tmp_path: Path) -> None:
    out = tmp_path / "new" / "prompts.jsonl"
    write_prompts(out, 30, 5)
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 30
    for line in lines:
        assert set(line) == {"task", "messages", "reference"}
        assert line["task"] in TASKS
        assert [set(m) for m in line["messages"]] == [{"role", "content"}]
        assert line["messages"][0]["role"] == "user"
        assert line["messages"][0]["content"]
        assert line["reference"]


def test_seed_decides_the_file(tmp_path: Path) -> None:
    write_prompts(tmp_path / "a", 12, 5)
    write_prompts(tmp_path / "b", 12, 5)
    write_prompts(tmp_path / "c", 12, 6)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_a_longer_list_starts_with_the_shorter() -> None:
    assert evaluation_prompts(60, 2)[:20] == evaluation_prompts(20, 2)


def test_needs_the_standard_library_only() -> None:
    program = (
        "import sys; from serving.demo_model.prompts import evaluation_prompts; evaluation_prompts(3, 1); "
        "print({m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names) - {'__main__', 'serving'})"
    )
    # -S leaves site-packages out, so a third-party import would fail rather than be listed.
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
