"""`ws_config` for type checkers: its keys, those of `params` and of `fanout`.

The tables in `schema.py` say the same at run time, and what else a value has to be; a test holds
the two together. `docs/configuration.md` says what each key means.
"""

from __future__ import annotations

import os  # noqa: TC003  # for get_type_hints, as the next
from typing import Literal, Required, TypedDict

from longwire_backends.base import Backend  # noqa: TC001

BackendName = Literal["memory", "sqlite3", "redis", "postgresql", "dynamodb", "s3"]
Several = list[str] | tuple[str, ...] | set[str] | frozenset[str]


class WSConfig(TypedDict, total=False):
    """What `Longwire`, `Connections` and `websocket_handler` take as `ws_config`."""

    backend: Required[BackendName | Backend]
    params: WSParams
    api_gateway_endpoint_url: str | None
    api_gateway_region_name: str | None
    path: str
    path_query: str | None
    ttl: int
    allowed_origins: Several | None
    client_ip_header: str | None
    trusted_proxies: Several
    exclude_headers: Several
    exclude_query: Several
    binary: Literal["text", "base64"]
    linger: float
    slow_client: float
    replay: bool
    replay_limit: int
    state: bool
    state_limit: int
    fanout: WSFanout | None


class WSParams(TypedDict, total=False):
    """The parameters of all stores; which of them a store takes is checked when it is made."""

    file_path: str | os.PathLike[str]
    table_name: str
    uri: str | None
    host: str | None
    port: int
    username: str | None
    user: str | None
    password: str | None
    database: str | None
    db: int
    ssl: bool
    key_prefix: str
    connect_timeout: int
    region_name: str | None
    endpoint_url: str | None
    bucket: str
    prefix: str


class WSFanout(TypedDict, total=False):
    """A queue for sends to large groups."""

    queue_url: Required[str]
    threshold: int
    region_name: str | None
