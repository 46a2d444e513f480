"""What the options of the command line mean: settings, a store, an app."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import os
from typing import TYPE_CHECKING, Any

from longwire.cli import env_file
from longwire.cli.importer import import_function, import_target
from longwire.cli.targets import locate
from longwire.config import settings, sources
from longwire.config.sources import LOCAL, StoreSource
from longwire.exceptions import ConfigurationError
from longwire.local.function.inline import kind
from longwire.local.rules.settings import GatewaySettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longwire.local.rules.signatures import Signer


class CannotServeError(Exception):
    """The gateway cannot start; the text is all that the user needs."""


def settings_from(options: argparse.Namespace) -> GatewaySettings:
    """Turn parsed options into the settings of the gateway."""
    if options.identity_source and options.authorizer is None:
        raise ConfigurationError("--identity-source: needs --authorizer")
    default = GatewaySettings()
    return GatewaySettings(
        stage=options.stage,
        routes=default.routes | set(options.route),
        route_selection_expression=options.route_selection_expression,
        message_rate=options.message_rate,
        integration_timeout=options.integration_timeout,
        http_timeout=options.http_timeout,
        idle_timeout=options.idle_timeout,
        lifetime=options.lifetime,
        unordered=options.unordered,
        identity_sources=tuple(options.identity_source),
    )


def signer_from(options: argparse.Namespace) -> Signer | None:
    """Return whose signatures the management API wants, if any."""
    if not options.verify_signatures:
        return None
    from longwire.local.rules import signatures

    return signatures.signer_from(os.environ)


def target_from(options: argparse.Namespace) -> Any:
    """Import the target; an ASGI app is wrapped, a handler has its own settings."""
    from longwire.handler import Longwire

    target = import_target(options.target, options.app_dir, factory=options.factory)
    own = {name: getattr(options, name, None) for name in ("path", "replay")}
    given: Any = {name: value for name, value in own.items() if value is not None}
    if kind(target) == "asgi":
        if getattr(options, "remote_store", False):
            raise ConfigurationError(
                f"--remote-store: {options.target} is an ASGI app, which has no store of its own: "
                "name a handler, or say which store with --dsn"
            )
        return Longwire(target, ws_config=LOCAL | given) if given else Longwire(target)
    for name in given:
        raise ConfigurationError(
            f"--{name}: {options.target} is a handler, and its own configuration decides; "
            "name an ASGI app or leave the option out"
        )
    if kind(target) == "lambda":
        _check_synchronous(target, options.target)
    return target


def _check_synchronous(function: Any, name: str) -> None:
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(function.__call__):
        raise ConfigurationError(
            f"{name} is async, and Lambda does not await what a function returns: name one "
            "without async, which may call asyncio.run()"
        )


def authorizer_from(options: argparse.Namespace) -> Any | None:
    """Import the Lambda authorizer, if one is named."""
    if options.authorizer is None:
        return None
    try:
        function = import_function(options.authorizer, options.app_dir)
        _check_synchronous(function, options.authorizer)
        return function
    except ConfigurationError as error:
        # So that the user sees which of the two modules it is about.
        raise ConfigurationError(f"--authorizer: {error}") from None


def located(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options with a target of the form MODULE or MODULE:ATTRIBUTE."""
    target, app_dir = locate(options.target, options.app_dir)
    return argparse.Namespace(**{**vars(options), "target": target, "app_dir": app_dir})


@contextlib.contextmanager
def prepared(options: argparse.Namespace) -> Iterator[None]:
    """Let all that is imported here see the environment and the store of the command line."""
    if options.env_file is not None:
        env_file.load(options.env_file, os.environ)
    with store_of(options):
        yield


@contextlib.contextmanager
def store_of(options: argparse.Namespace) -> Iterator[None]:
    """Let the store that the command line says be that of all that is imported here."""
    said = store_from(options)
    if options.command == "dev" and not options.remote_store:
        # Nothing that runs here reaches what runs on AWS, unless somebody says so.
        dsn = os.environ.get(sources.DSN)
        said = said or (StoreSource(dsn=dsn) if dsn else StoreSource(LOCAL, replaces_local=False))
    if said is None:
        yield
        return
    # What is wrong with it would else be told of the line in the code that makes the handler.
    with contextlib.nullcontext() if store_from(options) else sources.said_by(sources.DSN):
        settings.load(said.ws_config, said.dsn)
    os.environ[sources.DEV] = sources.as_text(said)
    try:
        yield
    finally:
        os.environ.pop(sources.DEV, None)


def store_from(options: argparse.Namespace) -> StoreSource | None:
    """Return what --dsn, --backend and --params, or --file say; None if they are not given."""
    if options.params is not None and options.backend is None:
        raise ConfigurationError("--params: needs --backend")
    if options.dsn is not None:
        return StoreSource(dsn=options.dsn)
    if options.backend is not None:
        params = _json_object(options.params or "{}")
        return StoreSource({"backend": options.backend, "params": params})
    file = getattr(options, "file", None)
    return None if file is None else StoreSource({**LOCAL, "params": {"file_path": file}})


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"--params: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigurationError('--params: expected a JSON object, for example {"host": "..."}')
    return value
