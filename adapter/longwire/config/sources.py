"""Where the store is when the code does not say it, or when `longwire dev` says something else.

It is what LONGWIRE_DSN says; else, where this is not Lambda, the file of `longwire dev`, or memory
where that cannot be opened.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from longwire.exceptions import ConfigurationError
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DSN = "LONGWIRE_DSN"
QUEUE = "LONGWIRE_FANOUT_QUEUE_URL"
# Set by `longwire dev` for all that runs under it: `as_text` of the store that it says.
DEV = "LONGWIRE_DEV_STORE"

LOCAL_FILE = ".longwire.sqlite3"
LOCAL: dict[str, Any] = {"backend": "sqlite3", "params": {"file_path": LOCAL_FILE}}
# Stores that nobody shares with production.
LOCAL_STORES = ("memory", "sqlite3")

NO_STORE = (
    f"nothing says where to keep connections: set the environment variable {DSN}, for example to "
    "dynamodb://connections?region=eu-west-1, or say it in code: Longwire(app, dsn=...) or "
    "Longwire(app, ws_config=...)"
)


class StoreSource(NamedTuple):
    """A store as it is said: in one of the two ways that `Longwire` takes."""

    ws_config: dict[str, Any] | None = None
    dsn: str | None = None
    # Whether it takes the place of a store that is this machine's own already.
    replaces_local: bool = True


def as_text(store: StoreSource) -> str:
    """Return the value of `DEV`."""
    return json.dumps(store)


def of_dev(environ: Mapping[str, str], own: str) -> StoreSource | None:
    """Return the store that `longwire dev` puts in the place of `own`; None if that stays."""
    store = StoreSource(*json.loads(environ[DEV]))
    return store if store.replaces_local or own not in LOCAL_STORES else None


def of_environment(environ: Mapping[str, str]) -> StoreSource:
    """Return the store of whoever says none; raises `ConfigurationError` on Lambda."""
    if dsn := environ.get(DSN):
        return StoreSource(dsn=dsn)
    if on_lambda(environ):
        raise ConfigurationError(NO_STORE)
    return StoreSource(LOCAL)


def on_lambda(environ: Mapping[str, str]) -> bool:
    """Tell whether this runs on Lambda itself; under `longwire dev --instances` it does not."""
    lambdas = ("AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME")
    return DEV not in environ and any(environ.get(name) for name in lambdas)


@contextlib.contextmanager
def said_by(variable: str) -> Iterator[None]:
    """Name the variable in the text of what is wrong with it."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"the environment variable {variable}: {error}") from None
