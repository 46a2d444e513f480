"""What the options of a `TestClient` mean."""

from __future__ import annotations

import asyncio
import dataclasses
import difflib
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from longwire.cli.importer import import_target
from longwire.exceptions import ConfigurationError
from longwire.local.rules.settings import GatewaySettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

INSTALL = "pip install 'longwire[testing]'"


def imported(app: Any, *, app_dir: str | Path = ".", factory: bool = False) -> Any:
    """Return the app that `MODULE:ATTRIBUTE` names, or what is none, or what a factory makes.

    The folder is on the import path of the test run already, or is put there for good.
    """
    if isinstance(app, str):
        return import_target(app, Path(app_dir), factory=factory)
    return app() if factory else app


def check(root_path: str, backend: str) -> None:
    """Raise `ConfigurationError` for what there is not on Lambda."""
    if root_path:
        raise ConfigurationError(
            f"root_path is {root_path!r}: there is none on Lambda; give the app itself one"
        )
    if backend != "asyncio":
        raise ConfigurationError(f"backend is {backend!r}: on Lambda apps run on asyncio")


def check_settings(settings: Mapping[str, Any], others: Iterable[str]) -> None:
    """Raise `TypeError` for what is no setting of the gateway, with what was probably meant."""
    known = {field.name for field in dataclasses.fields(GatewaySettings)}
    for name in settings.keys() - known:
        near = difflib.get_close_matches(name, [*known, *others], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"TestClient got an unexpected keyword argument {name!r}{hint}")


def seen_from(base_url: str) -> dict[str, Any]:
    """Return what API Gateway says of how its clients come, as a load balancer in front would."""
    parts = urlsplit(str(base_url))
    secure = parts.scheme in ("https", "wss")
    return {
        "forwarded_proto": "https" if secure else "http",
        "forwarded_port": parts.port or (443 if secure else 80),
    }


def loop_factory(options: Mapping[str, Any]) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes an event loop; raises `ConfigurationError`."""
    unknown = options.keys() - {"use_uvloop", "loop_factory", "debug"}
    if unknown:
        raise ConfigurationError(
            f"backend_options: {', '.join(map(repr, sorted(unknown)))} is not known; expected "
            "use_uvloop, loop_factory or debug"
        )
    factory = options.get("loop_factory") or asyncio.new_event_loop
    if options.get("use_uvloop"):
        from importlib import import_module

        factory = import_module("uvloop").new_event_loop

    def make() -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = factory()
        loop.set_debug(bool(options.get("debug", loop.get_debug())))
        return loop

    return make


@functools.cache
def find_httpx() -> Any:
    """Return the httpx that Starlette's own test client would take; None where there is none."""
    from importlib import import_module

    for name in ("httpx2", "httpx"):
        try:
            return import_module(name)
        except ImportError:
            continue
    return None
