import msgspec

from loadtests.bench.report import markdown
from loadtests.bench.results import Document


def section(text: str, title: str) -> list[str]:
    """The table rows under a heading."""
    _, _, rest = text.partition(f"{title}\n")
    return [line for line in rest.split("\n#")[0].splitlines() if line.startswith("|")]


def test_targets_come_with_goal_interval_and_verdict(document: Document) -> None:
    rows = section(markdown(document), "## Targets")
    assert rows[2] == (
        "| requests/s, non-stream: over the fastest Rust router "
        "| ≥ 1.5 x | 2.00 [2.00, 2.00] | met | beside vllm-router |"
    )
    assert rows[4] == (
        "| streams/s, 64 events: over the fastest Rust router "
        "| ≥ 1.5 x | | **not measured** | no Rust router was measured |"
    )
    assert rows[12] == "| memory of an idle stream | ≤ 30 KB | 20.00 | met | 1,000 streams, 0 lost |"
    assert rows[14].startswith("| flag decision | ≤ 3 µs | 2.00 [1.00, 4.00] | **unclear** | 100 features")
    assert len(rows) == 2 + len(document.targets)


def test_throughput_has_a_table_per_cell_and_marks_what_was_not_full(document: Document) -> None:
    text = markdown(document)
    assert section(text, "### 1 KB request, 64 connections, one core")[3] == (
        "| nginx | 300 | 0.60 [0.60, 0.60] x | 0.100 | 1.00 | 2.00 | 5 |"
    )
    assert section(text, "### 100 KB request, 64 connections, one core")[4] == (
        "| glidepath | 180 † | | 0.250 | 1.00 | 2.00 | 5 |"
    )
    assert "### 1 KB request, 64 connections, 2 cores" in text


def test_latency_shows_what_is_added(document: Document) -> None:
    rows = section(markdown(document), "## Latency at a fixed rate")
    assert rows[3] == (
        "| 1,000 | glidepath | 2001.50 (+0.50) | 2003.00 (+1.00) | 2004.50 (+1.50) | 2006.00 (+2.00) | 5 | 10 | 30 |"
    )


def test_workers_idle_streams_and_what_is_missing_have_their_sections(document: Document) -> None:
    text = markdown(document)
    assert section(text, "## Workers")[4] == "| glidepath | 2 | 1.00 | 97% |"
    assert section(text, "## Idle streams")[2] == "| glidepath | 1,000 | 20.0 | +1.0% in 20 s | 0 |"
    assert text.endswith("## Not measured\n\n- litellm: not installable\n")


def test_the_heading_tells_machine_and_noise(document: Document) -> None:
    text = markdown(document)
    assert (
        "2026-01-02, `glidepath bench` (default, 10 min). Fast <CPU> (virtual, 4 cores, 24 GB), Linux 6.18, "
        "Python 3.11.7; nginx 1.2.3.\n\nNoise: 3 of 5 turns disturbed; a fixed piece of work took up to 1.40 times"
    ) in text
    assert "**Most turns were disturbed" in text


def test_a_quick_run_says_so_and_empty_parts_are_left_out(document: Document) -> None:
    text = markdown(msgspec.structs.replace(document, plan="quick", scaling=(), latency=(), idle=(), skipped=()))
    assert "**A quick run" in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Targets", "## Throughput"]
