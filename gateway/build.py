"""Which form of the request path runs: compiled with mypyc (`make compile`) or interpreted."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from gateway.metrics import gauge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.series import Reading


def is_compiled() -> bool:
    """Whether requests run through extension modules. They are built together, so one speaks for all."""
    found = find_spec("gateway.exchange")
    return found is not None and str(found.origin).endswith(tuple(EXTENSION_SUFFIXES))


def form() -> str:
    """As people read it."""
    return "compiled" if is_compiled() else "interpreted"


def build_info() -> Iterator[Reading]:
    """The gauge that names the running build, to register with `Metrics.add_source`."""
    labels = (_version(), str(is_compiled()).lower())
    yield gauge("glidepath_build_info", "Workers that run this build.", ("version", "compiled"), [(labels, 1.0)])


def _version() -> str:
    try:
        return version("glidepath")
    except PackageNotFoundError:  # run from a folder, not installed
        return "unknown"
