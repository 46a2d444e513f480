"""`longwire init` and `longwire sweep`: what is done to a store by hand or by a schedule."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from longwire.exceptions import ConfigurationError
from longwire.local.cli.console import printable, write_line
from longwire.local.cli.options import store_from, target_from

if TYPE_CHECKING:
    import argparse

    from longwire.handler import Longwire
    from longwire_backends import Backend


def init(options: argparse.Namespace) -> int:
    """Create what a store needs; return the exit code."""
    from longwire.config.settings import load, make_backend

    said = store_from(options)
    assert said is not None  # the parser sees to it
    backend = make_backend(load(said.ws_config, said.dsn))
    asyncio.run(_create(backend))
    return 0


async def _create(backend: Backend) -> None:
    try:
        for line in await backend.create():
            write_line(sys.stdout, printable(line, keep="\n"))
    finally:
        await backend.close()


def sweep(options: argparse.Namespace) -> int:
    """Find connections that are gone; return the exit code, 1 if some could not be checked."""
    from longwire.handler import Longwire

    target = target_from(options)
    if not isinstance(target, Longwire):
        raise ConfigurationError(
            f"{options.target} is a Lambda function; expected an ASGI app or "
            "a Longwire handler, whose app can be told"
        )
    return asyncio.run(_sweep(target, options))


async def _sweep(handler: Longwire, options: argparse.Namespace) -> int:
    try:
        result = await handler.sweep(
            rate=options.rate,
            min_age=options.min_age,
            timeout=options.timeout,
            endpoint_url=options.endpoint,
        )
    finally:
        await handler.aclose()
    write_line(sys.stdout, printable(str(result), keep="\n"))
    return 0 if result.ok else 1
