"""What one WebSocket API is set to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from longwire.exceptions import ConfigurationError
from longwire.local.routes import parse_expression

CONNECT, DISCONNECT, DEFAULT = "$connect", "$disconnect", "$default"

_STAGE = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A WebSocket API and its one stage; the defaults are AWS's own limits.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html

    Attributes:
        stage: never "$default": WebSocket APIs do not have that stage.
        api_id: "local" is shorter than any real id, so its host name can be nobody's API.
        routes: the routes that have an integration; without `$connect` every handshake succeeds.
        route_selection_expression: `$request.body.key` or `${request.body.key.key}`.
        route_responses: send the function's `body` back as a frame.
        message_limit: bytes of a whole message, in either direction.
        frame_limit: bytes of one frame.
        idle_timeout: seconds without a message in either direction.
        lifetime: seconds that a connection may live.
        integration_timeout: seconds that an answer of the function is waited for.
        forwarded_port, forwarded_proto: what `X-Forwarded-Port` and `X-Forwarded-Proto` say.
        unordered: invoke the messages of one connection in parallel, as AWS does; otherwise one
            after the other, `$disconnect` last, so that two runs give the same transcript.
    """

    stage: str = "local"
    api_id: str = "local"
    domain_name: str = "local.execute-api.us-east-1.amazonaws.com"
    routes: frozenset[str] = field(default=frozenset({CONNECT, DISCONNECT, DEFAULT}))
    route_selection_expression: str = "$request.body.action"
    route_responses: bool = False
    message_limit: int = 128 * 1024
    frame_limit: int = 32 * 1024
    idle_timeout: float = 600
    lifetime: float = 7200
    integration_timeout: float = 29
    forwarded_port: int = 443
    forwarded_proto: str = "https"
    unordered: bool = False

    def __post_init__(self) -> None:
        if not _STAGE.fullmatch(self.stage):
            raise ConfigurationError(
                f"stage: {self.stage!r} is not a stage name: use letters, digits, - and _"
            )
        parse_expression(self.route_selection_expression)
        for name in ("idle_timeout", "lifetime", "integration_timeout"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name}: expected seconds above 0")
