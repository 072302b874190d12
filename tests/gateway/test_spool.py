from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.core.judging.score import Result, Scored, Spared
from gateway.core.keeping import ANSWER_MAX_CHARS, Mark, Texts, id_of
from gateway.pairs import PairQueue
from gateway.settings import Settings, TenantSettings
from gateway.settings.spool import SpoolSettings
from gateway.spool import PairsKeptToo, ScoresKeptToo, Spool
from gateway.spool_files import SpoolFiles
from gateway.tenants import Tenants
from rollout.core.model import Keep
from tests.gateway.records import SETTLED
from tests.gateway.texts import NOW_S, flag, pair, snapshot

if TYPE_CHECKING:
    from pathlib import Path

RECORD = replace(
    SETTLED,
    request_id="r-1",
    at_s=100.0,
    assigned="baseline",
    served="baseline",
    revision=2,
    upstream="partner",
    sent_s=0.1,
    duration_s=0.2,
    prompt_tokens=3,
    completion_tokens=4,
    key_id="key_1",
)
SCORED = Scored(
    "r-1", "draft", 7, "acme", "user", "u", "baseline", "inhouse", "partner", 1.0, Result.CANDIDATE, "third", "v1",
    NOW_S, NOW_S + 5,
)  # fmt: skip
MINE = id_of("draft", "acme", "r-1")


class World:
    """A spool in a folder, under a flag that may change."""

    def __init__(self, folder: Path, settings: SpoolSettings) -> None:
        self.snapshot = snapshot()
        self.folder, self.files = folder, SpoolFiles(folder)
        tenants = Tenants(Settings(tenants={"shy": TenantSettings(keep_texts=False)}))
        self.spool = Spool(self.files, settings, lambda: self.snapshot, tenants, lambda: NOW_S + 9)

    def keep(self, keep: Keep) -> None:
        self.snapshot = snapshot(flag(keep))

    def kept(self) -> list[Texts | Mark]:
        self.spool.close()
        return list(self.files.read("draft"))


@pytest.fixture
def world(tmp_path: Path):
    made: list[World] = []

    def make(**settings: object) -> World:
        made.append(World(tmp_path / "spool", SpoolSettings(**settings)))
        return made[-1]

    yield make
    for each in made:
        each.spool.close()


def test_a_pair_and_what_is_found_about_it(world) -> None:
    here = world()
    here.spool.take(pair())
    here.spool.take_score(SCORED)
    here.spool.take_rating(RECORD, "rating", 0.25)
    texts, *marks = here.kept()
    assert isinstance(texts, Texts)
    assert (texts.id, texts.messages[0].content) == (MINE, "write to [EMAIL]")
    assert marks == [
        Mark(MINE, NOW_S + 5, "judge", "third", 1.0, "v1"),
        Mark(MINE, NOW_S + 9, "feedback", "rating", 0.25),
    ]
    assert (here.spool.written, here.spool.lost) == (3, 0)


def test_nothing_is_ever_kept_that_no_flag_asks_for(world) -> None:
    here, others = world(), set(threading.enumerate())
    here.keep(Keep())
    here.spool.take(pair())
    here.spool.take(pair(feature="unknown"))
    here.spool.take_score(SCORED)
    here.spool.take_rating(RECORD, "rating", 1.0)
    assert not any(thread.name == "spool" for thread in set(threading.enumerate()) - others)
    assert (here.kept(), here.folder.exists(), here.spool.lost) == ([], False, 0)


def test_a_tenant_may_refuse(world) -> None:
    here = world()
    here.spool.take(pair(tenant="shy"))
    here.spool.take_score(replace(SCORED, tenant="shy"))
    assert here.kept() == []


@pytest.mark.parametrize(("keep", "sources"), [(Keep(pairs=True), ["judge"]), (Keep(answers=True), ["feedback"])])
def test_each_wish_keeps_its_own(world, keep: Keep, sources: list[str]) -> None:
    here = world()
    here.keep(keep)
    here.spool.take(pair())
    here.spool.take_score(SCORED)
    here.spool.take_rating(RECORD, "rating", 1.0)
    texts, *marks = here.kept()
    assert isinstance(texts, Texts)
    assert (texts.candidate is not None) is keep.pairs
    assert [mark.source for mark in marks] == sources


def test_marks_of_what_is_not_kept_are_not_kept(world) -> None:
    here = world()
    here.spool.take_score(SCORED)
    here.spool.take_rating(RECORD, "rating", 1.0)
    assert here.kept() == []


def test_more_patterns_are_redacted(world) -> None:
    here = world(patterns={"customer": "K-[0-9]{4}"})
    here.spool.take(pair(asked="K-1234 wants it"))
    assert here.kept()[0].messages[0].content == "[CUSTOMER] wants it"


def test_what_is_too_long_or_unreadable_or_comes_late_is_counted(world, caplog: pytest.LogCaptureFixture) -> None:
    here = world()
    here.spool.take(pair(said="x" * (ANSWER_MAX_CHARS + 1)))
    here.spool.take(replace(pair(), prompt=b'{"secret words"'))
    assert here.kept() == []
    here.spool.take(pair())
    assert (here.spool.written, here.spool.lost) == (0, 3)
    assert "secret" not in caplog.text


def test_what_waits_is_bounded(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.spool.WAITING_MAX_BYTES", 0)
    here = world()
    here.spool.take(pair())
    here.spool.take_score(SCORED)
    assert (here.kept(), here.spool.lost) == ([], 1)


def test_ids_that_marks_may_come_for_are_bounded(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.spool.IDS_MAX", 1)
    here = world()
    here.spool.take(pair())
    here.spool.take(pair("r-2"))
    here.spool.take_rating(RECORD, "rating", 1.0)
    assert len(here.kept()) == 2


def test_a_disk_that_fails_is_told_once_without_a_word_of_the_texts(world, caplog: pytest.LogCaptureFixture) -> None:
    here = world()
    here.folder.parent.mkdir(exist_ok=True)
    here.folder.write_text("no folder")
    with caplog.at_level(logging.DEBUG):
        here.spool.take(pair(said="secret words"))
        here.spool.take(pair("r-2", said="secret words"))
        here.spool.close()
    assert (here.spool.written, here.spool.lost) == (0, 2)
    assert [record.getMessage() for record in caplog.records] == ["texts cannot be kept: Not a directory"]


def test_where_nobody_makes_room_writing_stops(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.spool._OVERRUN", 0.0005)
    here = world(size_max_mb=1)
    for number in range(9):
        here.spool.take(pair(f"r-{number}"))
    kept = here.kept()
    assert 0 < len(kept) < 9
    assert here.spool.lost == 9 - len(kept)
    assert here.files.size_bytes() <= 525


def test_others_get_what_they_got_before(world) -> None:
    here = world()
    queue, scores = PairQueue(count_max=1), []

    class Scores:
        def take(self, scored: Scored) -> None:
            scores.append(scored)

        def spare(self, spared: Spared) -> None:
            scores.append(spared)

    pairs = PairsKeptToo(here.spool, queue)
    assert [pairs.take(pair()), pairs.take(pair("r-2"))] == [0, 1]
    kept = ScoresKeptToo(here.spool, Scores())
    kept.take(SCORED)
    kept.spare(Spared("draft", 7, 1.0))
    assert scores == [SCORED, Spared("draft", 7, 1.0)]
    assert queue.oldest == pair("r-2")
    pairs.close()
    assert len(list(here.files.read("draft"))) == 3
