"""A gateway's admin port, reduced to the operator API, on a thread; and who may call it."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Header, HTTPException

from rollout.adapters import open_store
from rollout.adapters.clock import WallClock
from rollout.api.router import router
from rollout.follower import Follower
from rollout.ports import Store
from rollout.seed import ensure_features


def authorize_exactly(role: str) -> Callable[..., str]:
    """A key names roles and actor, as "viewer,operator:ann"; a role covers no other one."""

    def actor(authorization: str = Header(default=":")) -> str:
        roles, _, name = authorization.removeprefix("Bearer ").partition(":")
        if role not in roles.split(","):
            raise HTTPException(403, f"the key lacks the role {role}")
        return name

    return actor


class AdminPort(uvicorn.Server):
    """One on a free port, over a store in `path`."""

    def __init__(self, path: Path, prepare: Callable[[Store], Awaitable[object]]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.path, self.prepare = path, prepare
        self.thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self) -> None:
        store, clock = open_store(f"sqlite:///{self.path / 'store.db'}"), WallClock()
        await ensure_features(store, {"summarize": ("inhouse", "partner"), "draft": ("inhouse", "partner")}, clock)
        await self.prepare(store)
        follower = Follower(store, clock, kill_file=self.path / "killed")
        await follower.refresh()
        app = FastAPI()
        app.include_router(router(store, follower, clock, authorize_exactly), prefix="/api/v1")
        super().__init__(uvicorn.Config(app, log_level="warning", lifespan="off"))
        await self.serve([self.listener])
        await store.close()


@contextmanager
def open_port(path: Path, prepare: Callable[[Store], Awaitable[object]]) -> Iterator[str]:
    """Run one; give its address."""
    server = AdminPort(path, prepare)
    server.thread.start()
    try:
        yield server.url
    finally:
        deadline_s = time.monotonic() + 10
        while not getattr(server, "started", False):
            assert time.monotonic() < deadline_s, "the server did not start"
            time.sleep(0.01)
        server.should_exit = True
        server.thread.join(10)
        server.listener.close()
