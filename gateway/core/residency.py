"""Where a tenant's data may go: the upstreams in its regions, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def reachable(regions: Iterable[str] | None, region_of_upstream: Mapping[str, str | None]) -> frozenset[str] | None:
    """Names of the upstreams a tenant may reach; None if it may reach all.

    An upstream that doesn't say where it is lies in no region.
    """
    if regions is None:
        return None
    allowed = frozenset(regions)
    return frozenset(name for name, region in region_of_upstream.items() if region in allowed)


def out_of_reach(model: str) -> ApiError:
    """403: no upstream of `model` may get this tenant's data now."""
    text = f"No server of the model `{model[:200]}` that may answer now is in a region that your tenant allows."
    return ApiError(403, text, "invalid_request_error", param="model", code="residency")
