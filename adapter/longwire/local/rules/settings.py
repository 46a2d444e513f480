"""What one WebSocket API is set to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from longwire.exceptions import ConfigurationError
from longwire.local.rules.routes import parse_expression

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECT, DISCONNECT, DEFAULT = "$connect", "$disconnect", "$default"

# Bytes of an event, and of an answer, that Lambda takes where somebody waits for the answer.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
PAYLOAD_LIMIT = 6 * 1024 * 1024 + 100

_STAGE = re.compile(r"[A-Za-z0-9_-]{1,128}")
# Of AWS's identity sources these are the headers and query parameters: stage variables do not exist
# here, and the values of `context` are never missing.
# https://docs.aws.amazon.com/apigatewayv2/latest/api-reference/apis-apiid-authorizers.html
_IDENTITY_SOURCE = re.compile(r"route\.request\.(header|querystring)\.([A-Za-z0-9._-]+)")

_TIMES = ("idle_timeout", "lifetime", "integration_timeout", "http_timeout", "authorizer_timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """A WebSocket API and its one stage; the defaults are AWS's own limits.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html

    Attributes:
        stage: never "$default": WebSocket APIs do not have that stage.
        api_id: "local" is shorter than any real id, so its host name can be nobody's API.
        region, account_id: what the ARN says that an authorizer is asked about.
        routes: the routes that have an integration; without `$connect` every handshake succeeds.
        route_selection_expression: `$request.body.key` or `${request.body.key.key}`.
        route_responses: send the function's `body` back as a frame.
        message_limit: bytes of a whole message, in either direction.
        frame_limit: bytes of one frame.
        message_rate: messages per second of one client, and as many at once; whoever sends more is
            closed with 1008. AWS does so, but names no figure: None has no limit.
        idle_timeout: seconds without a message in either direction.
        lifetime: seconds that a connection may live.
        integration_timeout: seconds that an answer of the function is waited for.
        identity_sources: what a handshake must have for the authorizer to be asked, for example
            `route.request.header.Authorization` or `route.request.querystring.token`.
        http_timeout: seconds that an answer to an HTTP request is waited for.
        authorizer_timeout: seconds that an answer of the authorizer is waited for. AWS names none
            for WebSocket APIs; this is that of their integrations.
        forwarded_port, forwarded_proto: what `X-Forwarded-Port` and `X-Forwarded-Proto` say.
        unordered: invoke the messages of one connection in parallel, as AWS does; otherwise one
            after the other, `$disconnect` last, so that two runs give the same transcript.
    """

    stage: str = "local"
    api_id: str = "local"
    domain_name: str = "local.execute-api.us-east-1.amazonaws.com"
    region: str = "us-east-1"
    account_id: str = "000000000000"
    routes: frozenset[str] = field(default=frozenset({CONNECT, DISCONNECT, DEFAULT}))
    route_selection_expression: str = "$request.body.action"
    route_responses: bool = False
    message_limit: int = 128 * 1024
    frame_limit: int = 32 * 1024
    message_rate: float | None = None
    idle_timeout: float = 600
    lifetime: float = 7200
    integration_timeout: float = 29
    http_timeout: float = 30
    identity_sources: Sequence[str] = ()
    authorizer_timeout: float = 29
    forwarded_port: int = 443
    forwarded_proto: str = "https"
    unordered: bool = False

    def __post_init__(self) -> None:
        if not _STAGE.fullmatch(self.stage):
            raise ConfigurationError(
                f"stage: {self.stage!r} is not a stage name: use letters, digits, - and _"
            )
        parse_expression(self.route_selection_expression)
        if isinstance(self.identity_sources, str):
            raise ConfigurationError("identity_sources: expected a list of strings")
        for source in self.identity_sources:
            parse_identity_source(source)
        if self.message_rate is not None and not self.message_rate > 0:
            raise ConfigurationError("message_rate: expected messages per second above 0")
        for name in _TIMES:
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name}: expected seconds above 0")


def parse_identity_source(source: str) -> tuple[str, str]:
    """Read an identity source into `header` or `querystring`, and a name."""
    match = _IDENTITY_SOURCE.fullmatch(source)
    if match is None:
        raise ConfigurationError(
            f"identity_sources: {source!r} is not of the form route.request.header.NAME or "
            "route.request.querystring.NAME"
        )
    return match[1], match[2]
