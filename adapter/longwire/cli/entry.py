"""What Lambda's runtime imports in each process of `longwire dev --instances`.

An internal extension has to be registered before this import is over, so a handler is made here and
not at the first event.
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from longwire.cli.console import PrintableFormatter
from longwire.cli.options import target_from
from longwire.cli.screen import about
from longwire.exceptions import ConfigurationError
from longwire.handler import Longwire
from longwire.local.function.instance import LIFELINE
from longwire.local.function.output import OUTPUT, PipedOutput, hear
from longwire.local.function.runtime_api import SAYS, WAITS
from longwire.local.inspector.transport import NamedTransport

# The variable with the options of the command line that say what the function is, as JSON.
OPTIONS = "LONGWIRE_DEV_OPTIONS"

# The store is in another variable: what the app itself starts is to know it, too.
NAMES = ("target", "factory", "app_dir", "path", "replay", "remote_store", "instances")


def options_for(options: argparse.Namespace) -> str:
    """Return the value of `OPTIONS` for a process."""
    said = {name: getattr(options, name) for name in NAMES}
    return json.dumps(said | {"app_dir": str(options.app_dir.resolve())})


def _end_with_the_gateway(lifeline: int) -> None:
    """Wait until the gateway is gone, however it ended, and end what runs here."""
    os.read(lifeline, 1)
    if sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)


def _set_up() -> None:
    lifeline = int(os.environ[LIFELINE])
    threading.Thread(target=_end_with_the_gateway, args=[lifeline], daemon=True).start()
    # As the gateway's: a framework may have the root logger say more, and say it in its own way.
    for name in ("longwire", "longwire_backends", "mangum"):
        logging.getLogger(name).setLevel(os.environ.get("AWS_LAMBDA_LOG_LEVEL", "WARNING"))
    for handler in logging.getLogger().handlers:
        if handler.formatter is not None:
            handler.setFormatter(PrintableFormatter(handler.formatter))
    _write_tracebacks_for_a_terminal()


def _write_tracebacks_for_a_terminal() -> None:
    """Have the runtime end each line of a traceback, and the warning before it, as others do.

    It ends them in CR, which keeps them together in CloudWatch, and has a terminal write each line
    over the one before it.
    """
    # Here alone: the gateway imports this module, too.
    from awslambdaric import bootstrap
    from awslambdaric import lambda_literals as texts

    bootstrap.ERROR_LOG_LINE_TERMINATE = "\n"
    bootstrap.ERROR_LOG_IDENT = " "
    warning = texts.lambda_unhandled_exception_warning_message.rstrip()
    texts.lambda_unhandled_exception_warning_message = f"{warning}\n"


def _target() -> Any:
    options = argparse.Namespace(**json.loads(os.environ[OPTIONS]))
    options.app_dir = Path(options.app_dir)
    try:
        target = target_from(options)
        several = (options.instances or 1) > 1
        if several and isinstance(target, Longwire) and target.settings.backend == "memory":
            raise ConfigurationError(
                "the backend 'memory' is that of one process, and --instances runs several: "
                "use another, such as sqlite3"
            )
        _post(SAYS, json.dumps(about(target)._asdict()))
        return target
    except Exception as error:
        # Not left to Lambda's runtime, which would not find the Runtime API: it reads the address
        # as `host:port` here, and nowhere else.
        if not isinstance(error, ConfigurationError):  # of which the gateway says all
            traceback.print_exc()
        failure = {"errorType": type(error).__name__, "errorMessage": str(error), "stackTrace": []}
        _post("/2018-06-01/runtime/init/error", json.dumps(failure))
        os._exit(1)


def _let_the_page_know(target: Any, output: PipedOutput) -> None:
    """Say where connections are kept, and, with each post, what event it is of."""
    if isinstance(target, Longwire):
        target.transport = NamedTransport(target.transport, lambda: output.request_id)
        if isinstance(target.settings.backend, str):
            store = {"backend": target.settings.backend, "params": dict(target.settings.params)}
            _post(SAYS, json.dumps({"store_settings": store}, default=str))


def _raised(event: Any, error: str) -> str:
    return json.dumps({"raised": error, "request_id": event["requestContext"]["requestId"]})


def _post(path: str, body: str = "") -> None:
    address, _, secret = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("POST", f"/{secret}{path}", body)
        connection.getresponse().read()
    finally:
        connection.close()


def handler(event: Any, context: Any) -> Any:
    """Call the function with a context that has what `LambdaContext` has of the gateway's own."""
    context.waits_for_client = lambda: _post(WAITS)
    context.app_raised = lambda error: _post(SAYS, _raised(event, error))
    context.wants_hints = True
    if _output is not None:
        _output.request_id = event["requestContext"]["requestId"]
    return _function(event, context)


_output: PipedOutput | None = None
if OPTIONS in os.environ:
    if OUTPUT in os.environ:
        _output = PipedOutput(int(os.environ[OUTPUT]))
        hear(_output.tell)
    _set_up()
    _function = _target()
    if _output is not None:
        _let_the_page_know(_function, _output)
