"""The first key of an empty store, and the folder it is saved in."""

import asyncio
from pathlib import Path

import pytest

from gateway.first_start import BOOTSTRAP_VARIABLE, DEV_KEY_FILE, first_key, make_state_dir
from gateway.settings import SettingsError
from gateway.start_error import StartError
from rollout.adapters.sqlite import SqliteStore
from rollout.core.keys import digest


@pytest.fixture(autouse=True)
def no_key_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BOOTSTRAP_VARIABLE, raising=False)


@pytest.fixture
async def store(tmp_path: Path):
    store = SqliteStore(tmp_path / "store.db")
    yield store
    await store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_state_dir(tmp_path / "deep" / "state")
    return tmp_path / "deep" / "state"


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


async def digests(store: SqliteStore) -> list[str]:
    return [record.digest for record in await store.list_keys()]


async def test_an_empty_store_gets_a_key_that_its_owner_alone_can_read(store, folder: Path) -> None:
    key = await first_key(store, folder)
    assert key is not None
    saved = folder / DEV_KEY_FILE
    assert (saved.read_text(), saved.stat().st_mode & 0o777) == (key + "\n", 0o600)
    assert await digests(store) == [digest(key)]
    assert await first_key(store, folder) is None
    assert saved.read_text() == key + "\n"
    assert names(folder) == [DEV_KEY_FILE]


async def test_of_gateways_that_start_at_once_the_saved_key_is_the_valid_one(store, folder: Path) -> None:
    made = [key for key in await asyncio.gather(*(first_key(store, folder) for _ in range(8))) if key]
    assert len(made) == 1
    assert (folder / DEV_KEY_FILE).read_text() == made[0] + "\n"
    assert await digests(store) == [digest(made[0])]
    assert names(folder) == [DEV_KEY_FILE]


async def test_a_given_key_is_taken_and_saved_nowhere(store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BOOTSTRAP_VARIABLE, "gp-given")
    assert await first_key(store, folder) is None
    assert await digests(store) == [digest("gp-given")]
    assert names(folder) == []


@pytest.mark.parametrize("key", ["", " gp-x", "gp-x\n", "gp-ü", "gp\tx"])
async def test_a_given_key_that_no_caller_could_send(
    store, folder: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(BOOTSTRAP_VARIABLE, key)
    with pytest.raises(SettingsError, match=BOOTSTRAP_VARIABLE):
        await first_key(store, folder)
    assert await digests(store) == []


async def test_where_nothing_can_be_saved_there_is_no_key(store, tmp_path: Path) -> None:
    with pytest.raises(StartError, match="first key"):
        await first_key(store, tmp_path / "absent")
    assert await digests(store) == []


def test_a_folder_in_whose_place_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot make the folder"):
        make_state_dir(tmp_path / "file" / "state")
