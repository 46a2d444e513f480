"""`longwire dev`: API Gateway and the function on this machine, until they are stopped."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import logging
import os
import re
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longwire.cli import dev_options, env_file, garbage, http
from longwire.cli.console import printable, write_line
from longwire.cli.inspection import Inspection, inspecting
from longwire.cli.options import (
    CannotServeError,
    authorizer_from,
    located,
    prepared,
    settings_from,
    signer_from,
    store_from,
    target_from,
)
from longwire.cli.screen import OF_IMPORTS, Screen
from longwire.cli.screen import about as described
from longwire.cli.sole import file_of, sole_user
from longwire.exceptions import ConfigurationError, LifespanError
from longwire.local.function.inline import ThreadFunction
from longwire.local.rules.access import is_open_to_others

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from longwire.cli.parser import Commands
    from longwire.local.function.instances import Instances
    from longwire.local.server.server import LocalGateway

logger: logging.Logger = logging.getLogger("longwire.local")

# Seconds for which the management API keeps an idle connection of processes that are frozen. They
# are to find it closed, as on Lambda, where that takes far longer.
FROZEN_KEEP_ALIVE = 3.0


def declare(commands: Commands) -> None:
    """Declare the command and its options."""
    what = "run API Gateway and a function on this machine"
    dev = commands.add_parser("dev", help=what, epilog=dev_options.EXAMPLES)
    dev.set_defaults(run=run)
    dev_options.add(dev)


def run(options: argparse.Namespace, arguments: list[str]) -> int:
    """Serve until Ctrl-C or SIGTERM; return the exit code."""
    options = located(options)
    if _reloads_by_restart(options):
        return _reload(arguments, options)
    with prepared(options):
        return _serve_here(options)


def _serve_here(options: argparse.Namespace) -> int:
    screen = Screen()
    with inspecting(options, screen) as looking:
        return _run(options, screen, looking)


def _run(options: argparse.Namespace, screen: Screen, looking: Inspection) -> int:
    from longwire.local.server.http_api import KEEP_ALIVE
    from longwire.local.server.server import LocalGateway

    settings, signer = settings_from(options), signer_from(options)
    authorizer, broken = None, None
    try:
        # Before the function, which has an event loop or processes as soon as it is made.
        authorizer = authorizer_from(options)
        target, function = _function_from(options, screen, looking)
    except ConfigurationError as error:
        if not options.under_reload:
            raise
        target, function, broken = None, ThreadFunction(_nothing), error
    # A thread of its own, since on AWS it is another function: neither can block the other.
    asked = None if authorizer is None else ThreadFunction(authorizer, timeout=options.timeout)
    gateway = LocalGateway(
        looking.watching(function),
        settings,
        host=options.host,
        port=options.port,
        observer=looking.observer(screen.show),
        verify=signer,
        authorizer=looking.asking(asked),
        watcher=looking.page,
        before_end=looking.before_end(function.settle),
        keep_alive=FROZEN_KEEP_ALIVE if options.freeze else KEEP_ALIVE,
        allow_hosts=options.allow_host,
        one_port=options.one_port,
        answers_http=lambda: screen.about.http is not False,
    )

    looking.serve(gateway)
    screen.on_broken = lambda text: setattr(gateway, "unavailable", text)

    async def begin() -> None:
        try:
            if broken is not None:
                raise broken
            await _begin(function, options.app_dir)
        except (ConfigurationError, CannotServeError):
            if options.under_reload:
                # Who asks for a page is told, too.
                has_mangum = find_spec("mangum") is not None
                await http.listen(gateway, options, answers=has_mangum or None)
            raise
        looking.read_store_of(target, function)
        about = screen.about
        said = await http.listen(gateway, options, answers=about.http, has_routes=about.http_routes)
        screen.ready(gateway, said, looking.page_path)
        garbage.collect_rarely()

    with sole_user(file_of(target)):
        try:
            asyncio.run(_serve(gateway, function, target, asked, begin, keep=options.under_reload))
        finally:
            screen.flush()
    return 0


def _nothing(event: Any, context: Any) -> None:
    """Stand in for a function that cannot be imported; it gets no events."""


def _function_from(
    options: argparse.Namespace, screen: Screen, looking: Inspection
) -> tuple[Any, ThreadFunction | Instances]:
    """Return what is run, as far as this process knows it, and what runs it."""
    if options.instances is None:
        if options.freeze:
            raise ConfigurationError("--freeze: only processes can be frozen; add --instances")
        target = target_from(options)
        screen.about = described(target)
        looking.name_posts_of(target)
        raised = looking.app_raised(screen.app_raised)
        return target, ThreadFunction(target, timeout=options.timeout, app_raised=raised)
    from longwire.cli import entry
    from longwire.local.function.instances import Instances

    _check_runtime()
    changes = None
    if options.reload and not options.under_reload:
        from longwire.local import reload

        changes = reload.changes(options.app_dir)
    environ = {entry.OPTIONS: entry.options_for(options)}
    if options.log_level != "warning":
        environ["AWS_LAMBDA_LOG_LEVEL"] = options.log_level.upper()
    return None, Instances(
        options.instances,
        environ,
        options.app_dir,
        timeout=options.timeout,
        freeze=options.freeze,
        changes=changes,
        on_report=screen.report,
        on_said=looking.said(screen.said),
        on_broken=screen.broken,
        **looking.of_processes(),
    )


def _check_runtime() -> None:
    """Say in plain words why no process would start."""
    # Elsewhere it can be installed, and lacks what speaks to the Runtime API.
    if sys.platform != "linux" and importlib.util.find_spec("runtime_client") is None:
        raise ConfigurationError(
            "--instances: AWS's own Lambda runtime, in which it runs the function, is for Linux "
            "only: leave it out, or run longwire dev in WSL or a container"
        )
    importlib.import_module("awslambdaric")


def _running(function: ThreadFunction | None) -> AbstractAsyncContextManager[object]:
    return contextlib.nullcontext() if function is None else function.running()


async def _serve(
    gateway: LocalGateway,
    function: ThreadFunction | Instances,
    target: Any,
    authorizer: ThreadFunction | None,
    begin: Callable[[], Coroutine[Any, Any, None]],
    *,
    keep: bool,  # the port, though the function cannot begin: the next change may mend it
) -> None:
    stop = _stop_signal(getattr(function, "kill_now", None))
    async with _running(authorizer), function.running():
        try:
            await gateway.__aenter__()
        except OSError as error:
            port = gateway.address[1]
            raise http.cannot_listen(gateway, port, error, "--port") from None
        try:
            os.environ["WS_MANAGEMENT_ENDPOINT"] = gateway.management_url
            _warn_elsewhere(target, gateway.management_url)
            try:
                begun = await _before(stop, begin())
            except (ConfigurationError, CannotServeError) as error:
                if not keep or isinstance(error, http.PortError):
                    raise
                begun, gateway.unavailable = True, str(error)
                write_line(sys.stderr, printable(f"longwire: {error}", keep="\n"))
            if begun:
                _say_what_is_open(gateway)
                await stop.wait()
                _say_what_is_left(gateway)
        finally:
            await gateway.__aexit__(None, None, None)


async def _before(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do work unless it is stopped; tell whether it has been done."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        working.result()
        return True
    working.cancel()
    await asyncio.wait({working})
    return False


async def _begin(function: ThreadFunction | Instances, app_dir: Path) -> None:
    from longwire.local.function.instance import InitError

    try:
        await function.ready()
    except LifespanError as error:
        logger.debug("%s", error)
        raise CannotServeError(startup_failure(str(error), app_dir)) from None
    except InitError as error:
        if error.type in OF_IMPORTS:
            raise ConfigurationError(error.message) from None
        raise CannotServeError(f"the function's process did not start: {error}") from None


def startup_failure(text: str, app_dir: Path) -> str:
    """Make one line of what an app says of its startup, which may be a whole traceback."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        return text.strip()
    places = re.findall(r'File "(.+?)", line (\d+)', text)
    own = [one for one in places if Path(one[0]).is_relative_to(app_dir.resolve())]
    at = [f" at {file}:{line}" for file, line in (own or places)[-1:]]
    raised = [line for line in lines[1:] if re.match(r"[\w.]+(?:: |$)", line)] or lines
    return f"the app's startup failed{''.join(at)}: {raised[-1].strip()}"


def _say_what_is_open(gateway: LocalGateway) -> None:
    host, _ = gateway.address
    if not is_open_to_others(host):
        return
    manage = (
        ""
        if gateway.verifies
        else (", and post to all connections and close them (not so with --verify-signatures)")
    )
    ask = "" if gateway.http_url is None else ", send requests"
    _say(f"warning: --host {host}: whoever reaches this machine can open connections{ask}{manage}")


def _say_what_is_left(gateway: LocalGateway) -> None:
    left = []
    if clients := gateway.clients:
        left.append(f"{clients} connected, whose last events may take a few seconds")
    if requests := gateway.requests:
        what = "an HTTP request is" if requests == 1 else f"{requests} HTTP requests are"
        left.append(f"{what} still being answered")
    if left:
        _say(f"stopping: {', and '.join(left)} (Ctrl-C again to stop now)")


def _stop_signal(kill_now: Callable[[], None] | None) -> asyncio.Event:
    """Return an event that Ctrl-C and its like set; a second Ctrl-C ends all at once."""
    # With --reload, Ctrl-C reaches this process and its supervisor, which then sends a SIGTERM:
    # that does not count as a second one.
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def stop_or_exit(number: int, frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            if kill_now is not None:
                kill_now()
            os._exit(128 + number)
        loop.call_soon_threadsafe(stop.set)

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP; others have no Ctrl-Break
        if number is None or (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
            continue  # nohup
        signal.signal(number, stop_or_exit)
    return stop


def _warn_elsewhere(target: Any, management_url: str) -> None:
    endpoint = getattr(getattr(target, "settings", None), "endpoint_url", None)
    if endpoint is not None and endpoint.rstrip("/") != management_url:
        _say(
            f"warning: the handler posts to {endpoint}, not to this gateway ({management_url}): "
            "leave out api_gateway_endpoint_url here"
        )


def _say(text: str) -> None:
    write_line(sys.stderr, f"longwire dev: {text}")


def _reloads_by_restart(options: argparse.Namespace) -> bool:
    """Tell whether a change needs a new gateway, as the function or an authorizer is in it."""
    here = options.instances is None or options.authorizer is not None
    return options.reload and here and not options.under_reload


def _reload(arguments: list[str], options: argparse.Namespace) -> int:
    """Serve in a process that is restarted whenever a file changes."""
    # What is wrong with the command line is said once, not at every restart.
    if options.instances is not None:
        _check_runtime()
    from longwire.local.reload import supervise

    settings_from(options)
    store_from(options)
    if options.env_file is None:
        signer_from(options)
    else:
        env_file.load(options.env_file, {})  # each new process reads it anew
    more = ["--under-reload"]
    more += http.same_ports(options)
    return supervise([sys.executable, "-m", "longwire", *arguments, *more], options.app_dir)
