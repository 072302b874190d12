"""The operator's port with the arena and the export on it, without a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
from fastapi import APIRouter
from msgspec.structs import replace

from gateway.admin import authorizer, build_admin
from gateway.arena import Arena
from gateway.arena_api import arena_router
from gateway.arena_page import add_arena_page
from gateway.auth import Keyring, first_key_record
from gateway.core.keeping import encode
from gateway.export_api import Exports, export_router
from gateway.metrics import Metrics
from gateway.spool_files import EXPORT_LOG, SPOOL_FOLDER, SpoolFiles
from tests.gateway.texts import NOW_S, flag

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.keeping import Line
    from rollout.ports import Store

ROLES = {"voter": ("voter",), "ann": ("voter",), "operator": ("operator",), "viewer": ("viewer",), "nobody": ()}
FEATURES = {"drafts": ("draft",)}
"""Keys of voters that open these only."""


class Quiet:
    """A fleet in which nothing happens."""

    async def collect(self) -> Metrics:
        return Metrics()

    async def catch_up(self) -> None:
        pass

    def unready(self) -> None:
        pass


class Operators:
    """What operators and voters talk to."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.files, self.log, self.now_s = SpoolFiles(folder / SPOOL_FOLDER), folder / EXPORT_LOG, NOW_S
        self.store, self.flags = store, {"draft": flag(), "ask": replace(flag(feature="ask"), shadow=flag().shadow)}
        keyring = Keyring()
        keyring.replace(
            [
                replace(first_key_record(f"gp-{name}", 0.0, name=name), id=name, roles=roles)
                for name, roles in ROLES.items()
            ]
            + [
                replace(first_key_record(f"gp-{name}", 0.0, name=name), id=name, roles=("voter",), features=features)
                for name, features in FEATURES.items()
            ]
        )
        authorize = authorizer(keyring)
        self.arena = Arena(self.files, store, lambda: self.flags, lambda: self.now_s)
        routes = APIRouter()
        routes.include_router(arena_router(self.arena, authorize))
        exports = Exports(self.files, store, lambda: self.flags, self.log, lambda: self.now_s)
        routes.include_router(export_router(exports, authorize))
        self.app = build_admin(routes, Quiet())
        add_arena_page(self.app)
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), base_url="http://admin")

    def put(self, *lines: Line, feature: str = "draft") -> None:
        for each in lines:
            self.files.append(feature, each.at_s, 86_400.0, encode(each))

    async def get(self, path: str, name: str = "voter", **params: object) -> httpx2.Response:
        headers = {"authorization": f"Bearer gp-{name}"}
        return await self.client.get(f"/api/v1{path}", headers=headers, params=params)

    async def post(self, path: str, body: object, name: str = "voter") -> httpx2.Response:
        return await self.client.post(f"/api/v1{path}", headers={"authorization": f"Bearer gp-{name}"}, json=body)
