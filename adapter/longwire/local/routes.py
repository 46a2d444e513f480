"""Which WebSocket paths an app has, as its framework tells; no framework is imported for it."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Where middlewares and the like keep the app that they are around.
_INNER = ("app", "application", "inner", "_app")
_DEPTH = 20


def websocket_routes(app: Any) -> list[str]:
    """Return the paths, with parameters as in `/rooms/{room}`; none where nobody can tell."""
    try:
        return list(dict.fromkeys(_routes(app, "", _DEPTH)))
    except Exception:  # of somebody else's attributes: this is a help, no more
        return []


def has_http_routes(app: Any) -> bool:
    """Tell whether an app has HTTP routes, besides those of its own docs; False if nobody can."""
    try:
        return _answers_http(app, _DEPTH)
    except Exception:  # as above
        return False


def _answers_http(app: Any, depth: int) -> bool:
    if depth == 0 or app is None:
        return False
    if isinstance(mapping := getattr(app, "application_mapping", None), dict):  # Channels
        return "http" in mapping
    if isinstance(routes := getattr(app, "routes", None), (list, tuple)):
        return any(_is_http(route, depth - 1) for route in routes)
    if (rules := getattr(app, "url_map", None)) is not None:  # Quart
        return any(
            not getattr(rule, "websocket", False) and rule.endpoint != "static"
            for rule in rules.iter_rules()
        )
    inner = (getattr(app, name, None) for name in _INNER)
    return _answers_http(next((one for one in inner if callable(one)), None), depth - 1)


def _is_http(route: Any, depth: int) -> bool:
    if (included := getattr(route, "original_router", None)) is not None:  # FastAPI's
        return _answers_http(included, depth)
    if getattr(route, "methods", None):
        handlers = getattr(route, "route_handlers", [route])  # Litestar's
        return any(_is_of_app(one) for one in handlers)
    if type(route).__name__ in ("Mount", "Host"):  # Starlette's; one without routes has files, say
        inner = getattr(route, "app", None)
        return bool(not getattr(route, "routes", None)) or _answers_http(inner, depth)
    return False


def _is_of_app(handler: Any) -> bool:
    """Tell a page of the app from those that a framework adds, of its docs."""
    function = getattr(handler, "endpoint", None) or getattr(handler, "fn", None)
    module: str = getattr(function, "__module__", None) or ""
    return module.partition(".")[0] not in ("fastapi", "litestar")


def _routes(app: Any, prefix: str, depth: int) -> Iterator[str]:
    if depth == 0 or app is None:
        return
    if isinstance(mapping := getattr(app, "application_mapping", None), dict):  # Channels
        yield from _routes(mapping.get("websocket"), prefix, depth - 1)
    elif isinstance(routes := getattr(app, "routes", None), (list, tuple)):
        for route in routes:
            yield from _of_route(route, prefix, depth - 1)
    elif (rules := getattr(app, "url_map", None)) is not None:  # Quart
        for rule in rules.iter_rules():
            if getattr(rule, "websocket", False):
                yield prefix + _plain(rule.rule)
    else:
        for name in _INNER:
            if callable(inner := getattr(app, name, None)):
                yield from _routes(inner, prefix, depth - 1)
                return


def _of_route(route: Any, prefix: str, depth: int) -> Iterator[str]:
    if (pattern := getattr(route, "pattern", None)) is not None:  # Django's, which Channels takes
        inner = getattr(route, "callback", None)
        path = f"{prefix}/{_plain(str(pattern)).lstrip('/')}"
        if isinstance(getattr(inner, "routes", None), list):
            yield from _routes(inner, path.rstrip("/"), depth)
        else:
            yield path
        return
    if (included := getattr(route, "original_router", None)) is not None:  # FastAPI's
        context = getattr(route, "include_context", None)
        yield from _routes(included, prefix + _plain(getattr(context, "prefix", "")), depth)
        return
    path = prefix + _plain(getattr(route, "path", ""))
    if "WebSocketRoute" in {kind.__name__ for kind in type(route).__mro__}:
        yield path or "/"
    elif isinstance(getattr(route, "routes", None), list):  # Mount and Host of Starlette
        yield from _routes(route, path, depth)


def _plain(path: str) -> str:
    """Write parameters in one way, whatever the framework's own is."""
    path = re.sub(r"\(\?P<(\w+)>(?:[^()\\]|\\.)*\)", r"{\1}", path)  # a regular expression
    path = re.sub(r"<(?:[^<>]*:)?(\w+)>", r"{\1}", path)  # Quart's and Django's
    path = re.sub(r"\{(\w+):\w+\}", r"{\1}", path)  # Starlette's and Litestar's
    return path.removeprefix("^").removesuffix("$").removesuffix(r"\Z")


def hint(path: str, routes: Sequence[str]) -> str:
    """Say what was probably meant by a path that no route has; "" when one has it."""
    if not routes or any(_fits(path, route) for route in routes):
        return ""
    wanted = "/" + path.lstrip("/")
    fitting = [wanted] if any(_fits(wanted, route) for route in routes) else []
    for other in (wanted.rstrip("/"), f"{wanted}/"):
        fitting += [other] if any(_fits(other, route) for route in routes) else []
    if near := fitting or difflib.get_close_matches(wanted, routes, 1, cutoff=0.7):
        return f"did you mean {near[0]}?"
    more = f" and {len(routes) - 5} more" if len(routes) > 5 else ""
    return f"the app has {', '.join(routes[:5])}{more}"


def _fits(path: str, route: str) -> bool:
    parts = (re.escape(part) for part in re.split(r"\{\w+\}", route))
    return re.fullmatch(".+".join(parts), path) is not None
