"""What the options of the command line mean: settings, a store, an app."""

from __future__ import annotations

import inspect
import json
import os
from typing import TYPE_CHECKING, Any

from longwire.exceptions import ConfigurationError
from longwire.local.cli.importer import import_function, import_target
from longwire.local.function.inline import kind
from longwire.local.rules.settings import GatewaySettings

if TYPE_CHECKING:
    import argparse

    from longwire.local.rules.signatures import Signer

DEFAULT_FILE = ".longwire.sqlite3"


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
    """Import the target; an ASGI app is wrapped, a handler says itself where its store is."""
    from longwire.handler import Longwire

    target = import_target(options.target, options.app_dir)
    if kind(target) == "asgi":
        return Longwire(target, ws_config=_ws_config(options))
    for name in ("path", "replay", "backend", "params", "file"):
        if getattr(options, name, None) is not None:
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


def _ws_config(options: argparse.Namespace) -> dict[str, Any]:
    config = store_from(options) or {
        "backend": "sqlite3",
        "params": {"file_path": options.file or DEFAULT_FILE},
    }
    for name in ("path", "replay"):
        if getattr(options, name, None) is not None:
            config[name] = getattr(options, name)
    return config


def store_from(options: argparse.Namespace) -> dict[str, Any] | None:
    """Return what --backend and --params say; None if they are not given."""
    if options.backend is not None:
        return {"backend": options.backend, "params": _json_object(options.params or "{}")}
    if options.params is not None:
        raise ConfigurationError("--params: needs --backend")
    return None


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"--params: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigurationError('--params: expected a JSON object, for example {"host": "..."}')
    return value
