"""Which route a message takes.

https://docs.aws.amazon.com/apigateway/latest/developerguide/websocket-api-develop-routes.html
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from longwire.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection

_EXPRESSION = re.compile(r"\$(?:request\.body\.([\w.-]+)|\{request\.body\.([\w.-]+)\})")


def parse_expression(expression: str) -> list[str]:
    """Read a route selection expression into the keys that lead to the value in the body."""
    match = _EXPRESSION.fullmatch(expression)
    keys = (match[1] or match[2]).split(".") if match else []
    if not all(keys) or not keys:
        raise ConfigurationError(
            f"route_selection_expression: {expression!r} is not of the form "
            "$request.body.key or ${request.body.key.key}"
        )
    return keys


def select_route(body: str, expression: str, routes: Collection[str]) -> str | None:
    """Return the key of the route that this message takes; None when there is none for it."""
    # A body that is not JSON, and a value that names no route, go to `$default`.
    if any(not route.startswith("$") for route in routes):
        key = _evaluate(body, parse_expression(expression))
        if key is not None and key in routes and not key.startswith("$"):
            return key
    return "$default" if "$default" in routes else None


def _evaluate(body: str, keys: list[str]) -> str | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))
