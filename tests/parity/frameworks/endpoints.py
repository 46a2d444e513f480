"""All endpoints that know a `Socket` only, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.parity.frameworks import attending, ending, feeds, remembering, simple, working

if TYPE_CHECKING:
    from tests.parity.frameworks.socket import Endpoint

ENDPOINTS: dict[str, Endpoint] = {
    endpoint.__name__: endpoint
    for module in (simple, feeds, working, ending, remembering, attending)
    for endpoint in module.ENDPOINTS
}
