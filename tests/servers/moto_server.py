"""moto's server, one DynamoDB or S3 request at a time: its conditional writes are not atomic."""

from __future__ import annotations

import sys
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import run_simple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

_ATOMIC = ("/dynamodb/", "/s3/")  # not SQS, whose receivers wait
_turn = threading.Lock()
_moto = DomainDispatcherApplication(create_backend_app)


def _application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer as moto does, in turn where a write has a condition."""
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    in_turn = any(service in authorization for service in _ATOMIC)
    with _turn if in_turn else nullcontext():
        answer: Iterable[bytes] = _moto(environ, start_response)
        return list(answer)


if __name__ == "__main__":
    run_simple(
        "127.0.0.1",
        int(sys.argv[1]),
        _application,
        threaded=True,
        request_handler=MotoRequestHandler,
    )
