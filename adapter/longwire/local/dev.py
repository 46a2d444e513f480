"""`longwire dev`: API Gateway and the function on this machine, until they are stopped."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from longwire.local.options import CannotServeError, caller_from, settings_from, target_from

if TYPE_CHECKING:
    import argparse

    from longwire.local.function import ThreadFunction
    from longwire.local.server import LocalGateway
    from longwire.local.session import Invocation


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; return the exit code.

    Raises:
        ConfigurationError: the options, or what they name, are wrong.
        CannotServeError: the port cannot be had.
    """
    from longwire.local.function import ThreadFunction
    from longwire.local.server import LocalGateway

    settings, caller = settings_from(options), caller_from(options)
    target = target_from(options)
    function = ThreadFunction(target, timeout=options.timeout)
    gateway = LocalGateway(
        function,
        settings,
        host=options.host,
        port=options.port,
        observer=_show,
        verify=caller,
    )
    asyncio.run(_serve(gateway, function, target))
    return 0


async def _serve(gateway: LocalGateway, function: ThreadFunction, target: Any) -> None:
    stop = _stop_signal()
    async with function.running():
        try:
            await gateway.__aenter__()
        except OSError as error:
            raise CannotServeError(_cannot_listen(gateway, error)) from None
        try:
            os.environ["WS_MANAGEMENT_ENDPOINT"] = gateway.management_url
            _warn_elsewhere(target, gateway.management_url)
            print(ready_line(gateway), flush=True)
            await stop.wait()
            _say_what_is_left(gateway)
        finally:
            await gateway.__aexit__(None, None, None)


def _say_what_is_left(gateway: LocalGateway) -> None:
    if clients := gateway.clients:
        print(
            f"longwire dev: stopping: {clients} connected, whose last events may take a few "
            "seconds (Ctrl-C again to stop now)",
            file=sys.stderr,
            flush=True,
        )


def _stop_signal() -> asyncio.Event:
    """Return an event that Ctrl-C and SIGTERM set; a second Ctrl-C ends the process at once.

    Between the two the clients are closed and the function gets its `$disconnect` events. With
    --reload, Ctrl-C reaches this process and its supervisor, which then sends a SIGTERM.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def stop_or_exit(number: int, frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            os._exit(128 + number)
        loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop_or_exit)
    return stop


def ready_line(gateway: LocalGateway) -> str:
    """Say where clients connect."""
    return (
        f"longwire dev: ready on {gateway.url} (also /{gateway.rules.settings.stage}), "
        f"management API {gateway.management_url}/@connections"
    )


def _cannot_listen(gateway: LocalGateway, error: OSError) -> str:
    host, port = gateway.address
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use; choose another with --port, or 0 for any"
    return f"cannot listen on {host}:{port}: {error.strerror or error}"


def _warn_elsewhere(target: Any, management_url: str) -> None:
    endpoint = getattr(getattr(target, "settings", None), "endpoint_url", None)
    if endpoint is not None and endpoint.rstrip("/") != management_url:
        print(
            f"longwire dev: warning: the handler posts to {endpoint}, not to this gateway "
            f"({management_url}): leave out api_gateway_endpoint_url here",
            file=sys.stderr,
            flush=True,
        )


def _show(invocation: Invocation) -> None:
    from longwire.local.console import event_line

    print(event_line(invocation, datetime.now()), flush=True)


def reload(arguments: list[str], options: argparse.Namespace) -> int:
    """Serve in a process that is restarted whenever a file changes."""
    from longwire.local.reload import supervise

    # What is wrong with the command line is said once, not at every restart.
    settings_from(options)
    caller_from(options)
    rest = [argument for argument in arguments if argument != "--reload"]
    return supervise([sys.executable, "-m", "longwire", *rest], options.app_dir)
