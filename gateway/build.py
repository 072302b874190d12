"""Which form of the request path runs: compiled with mypyc (`make compile`) or interpreted."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from gateway import exchange
from gateway.metrics import gauge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric


def is_compiled() -> bool:
    """Whether requests run through extension modules. They are built together, so one speaks for all."""
    return str(exchange.__file__).endswith(tuple(EXTENSION_SUFFIXES))


def form() -> str:
    """As people read it."""
    return "compiled" if is_compiled() else "interpreted"


def build_info() -> Iterator[Metric]:
    """The gauge that names the running build."""
    labels = (_version(), str(is_compiled()).lower())
    yield gauge("glidepath_build_info", "Always 1; which build runs.", ("version", "compiled"), [(labels, 1.0)])


def _version() -> str:
    try:
        return version("glidepath")
    except PackageNotFoundError:  # run from a folder, not installed
        return "unknown"
