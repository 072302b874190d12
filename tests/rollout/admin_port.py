"""A gateway's admin port, reduced to the operator API, on a thread; and who may call it."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import uvicorn
from fastapi import APIRouter, FastAPI, Header, HTTPException

from rollout.adapters import open_store
from rollout.adapters.clock import WallClock
from rollout.api.router import router
from rollout.follower import Follower
from rollout.ports import Store
from rollout.seed import ensure_features

START_DEADLINE_S = 60.0
WANTED = {"draft": ("inhouse", "partner"), "summarize": ("inhouse", "partner")}


def authorize_exactly(*wanted: str) -> Callable[..., str]:
    """A key names roles and actor, as "viewer,operator:ann"; a role covers no other one, and one of those will do."""

    def actor(authorization: str = Header(default="")) -> str:
        roles, _, name = authorization.removeprefix("Bearer ").partition(":")
        if not name:
            raise HTTPException(401, "this key is not known", {"WWW-Authenticate": "Bearer"})
        if not set(wanted).intersection(roles.split(",")):
            raise HTTPException(403, f"the key lacks the role {' or '.join(wanted)}")
        return name

    return actor


class AdminPort(uvicorn.Server):
    """One on a free port; `served` is opened and closed on its thread."""

    def __init__(self, served: AbstractAsyncContextManager[APIRouter]) -> None:
        self.served, self.app = served, FastAPI()
        super().__init__(uvicorn.Config(self.app, log_level="warning", lifespan="off"))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self) -> None:
        async with self.served as served:
            self.app.include_router(served, prefix="/api/v1")
            await self.serve([self.listener])

    def wait_until_ready(self) -> None:
        """Hold the caller's thread meanwhile: pytest and FastAPI both set filters of warnings, which threads share."""
        deadline_s = time.monotonic() + START_DEADLINE_S
        while not self.started:
            assert self.thread.is_alive(), "the server has ended"
            assert time.monotonic() < deadline_s, "the server did not start"
            time.sleep(0.01)


@contextmanager
def open_port(served: AbstractAsyncContextManager[APIRouter]) -> Iterator[str]:
    """Run one; give its address."""
    server = AdminPort(served)
    server.thread.start()
    try:
        server.wait_until_ready()
        yield server.url
    finally:
        server.should_exit = True
        server.thread.join(START_DEADLINE_S)
        server.listener.close()


async def _as_seeded(_: Store) -> None:
    """Prepare nothing more."""


@asynccontextmanager
async def operator_api(
    path: Path, prepare: Callable[[Store], Awaitable[object]] = _as_seeded, *, following: bool = False
) -> AsyncIterator[APIRouter]:
    """The operator API over a new store in `path`; `following`: what others write is noticed too."""
    store, clock = open_store(f"sqlite:///{path / 'store.db'}"), WallClock()
    await ensure_features(store, WANTED, clock)
    await prepare(store)
    follower = Follower(store, clock, kill_file=path / "killed")
    await follower.refresh()
    task = asyncio.create_task(follower.run()) if following else None
    yield router(store, follower, clock, authorize_exactly)
    if task is not None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await store.close()
