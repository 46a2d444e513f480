"""`ws_config` or `dsn` -> one validated, immutable settings object, and the backend it names.

`schema.py` has the tables of what may be configured.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from longwire.config import backends
from longwire.config.schema import FANOUT, FANOUT_KEYS, OWN, STORES, Key, StoreParams
from longwire.deadlines import PATIENCE
from longwire.exceptions import ConfigurationError
from longwire_aws.tuples import NamedTuple
from longwire_backends.base import Backend, shown

if TYPE_CHECKING:
    from longwire.apigateway.client_ip import Network
    from longwire.apigateway.frames import Binary
    from longwire.config.sources import StoreSource

_DEV = "LONGWIRE_DEV_STORE"  # `sources.DEV`, without the import


class Fanout(NamedTuple):
    """How sends to many are handed to SQS.

    Attributes:
        queue_url: of the queue to which the function is subscribed.
        threshold: how many members a group may have to be served by one process.
        region_name: of the queue; None takes it from the URL, else from the environment.
    """

    queue_url: str
    threshold: int = 1000
    region_name: str | None = None


class Settings(NamedTuple):
    """Everything that can be configured, validated, with its defaults filled in.

    Attributes:
        backend: the name of a store, or a store.
        params: the store's parameters; None where an optional one is not given.
        endpoint_url: the management API; None derives it from each event.
        region_name: the region of the management API; None derives it.
        path: the scope's path when the client gives none.
        path_query: the query parameter that gives it; None means that there is none.
        ttl: seconds that a record lives; API Gateway ends a connection after two hours.
        allowed_origins: any other `Origin` is refused; None allows all.
        client_ip_header: what names the client, in lower case; None believes in no header.
        trusted_proxies: the only ones whose word that header is.
        exclude_headers: names, in lower case, that are never stored.
        exclude_query: names of query parameters that are never stored.
        binary: what becomes of bytes that the app sends; API Gateway sends text only.
        linger: seconds that a busy task may take to send something more.
        slow_client: seconds for which a client that does not read is tried again.
        replay: an app's own variables last as long as its connection.
        replay_limit: messages that a connection may have with it.
        state: what an app changes in `scope["state"]` is there for the connection's next event.
        state_limit: bytes of JSON that this may take for each connection.
        fanout: None serves groups of any size in one process.
        made_for: the remote store in whose place `longwire dev` has put this one.
    """

    backend: str | Backend
    params: Mapping[str, Any]
    endpoint_url: str | None = None
    region_name: str | None = None
    path: str = "/"
    path_query: str | None = "path"
    ttl: int = 7800
    allowed_origins: frozenset[str] | None = None
    client_ip_header: str | None = None
    trusted_proxies: frozenset[Network] = frozenset()
    exclude_headers: frozenset[str] = frozenset()
    exclude_query: frozenset[str] = frozenset()
    binary: Binary = "text"
    linger: float = 2.0
    slow_client: float = PATIENCE
    replay: bool = False
    replay_limit: int = 1000
    state: bool = True
    state_limit: int = 32 * 1024
    fanout: Fanout | None = None
    made_for: str | None = None

    def __repr__(self) -> str:
        """Leave the parameters out, as they may be passwords."""
        rest = {name: value for name, value in self._asdict().items() if name != "params"}
        return f"Settings({rest})"


def load(
    ws_config: Mapping[str, Any] | None,
    dsn: str | None,
    fanout: Mapping[str, Any] | None = None,
) -> Settings:
    """Validate the one of the first two that is given; `fanout` replaces `ws_config["fanout"]`.

    If neither is given, the environment says it; and `longwire dev` may say it for all.
    """
    if ws_config is not None and dsn is not None:
        raise ConfigurationError("ws_config and dsn say the same thing: give one of them, not both")
    if dsn is not None:
        settings = _from_dsn(dsn)
    elif ws_config is not None:
        settings = _from_dict(ws_config)
    else:
        settings = _from_environment()
    if fanout is not None:
        given = _value(Key("fanout", FANOUT), fanout, "fanout")
        settings = settings._replace(fanout=_fanout(given, "fanout"))
    if _DEV not in os.environ:
        return settings
    return _as_dev_says(settings, in_code=ws_config is not None or dsn is not None)


def _from_environment() -> Settings:
    from longwire.config import sources  # only who says nothing in code pays for it

    store = sources.of_environment(os.environ)
    with sources.said_by(sources.DSN):
        settings = _from_store(store)
    queue_url = os.environ.get(sources.QUEUE)
    if not queue_url or store.dsn is None:  # no queue is this machine's own
        return settings
    with sources.said_by(sources.QUEUE):
        return settings._replace(fanout=_fanout({"queue_url": queue_url}, "fanout"))


def _as_dev_says(settings: Settings, *, in_code: bool) -> Settings:
    """Put the store of `longwire dev` in the place of another; all other settings stay."""
    from longwire.config import sources  # nobody else pays for it

    own = settings.backend
    own = own.name if isinstance(own, Backend) else own
    if (store := sources.of_dev(os.environ, own)) is None:
        return settings
    there = _from_store(store)
    defaults = Settings(backend="", params={"not": "given"})
    said = there._asdict()
    more = {name: value for name, value in said.items() if value != getattr(defaults, name)}
    made_for = own if in_code and own not in sources.LOCAL_STORES else None
    # A queue would hand parts to a function that has another store.
    return settings._replace(**{"fanout": None, **more, "made_for": made_for})


def _from_store(store: StoreSource) -> Settings:
    return _from_dict(store.ws_config or {}) if store.dsn is None else _from_dsn(store.dsn)


def said_elsewhere(fanout: Mapping[str, Any] | None, *, local: bool = False) -> Settings | None:
    """Load what only the environment says, for who can do without a store.

    `local` says that the local file is meant where this is not Lambda and nothing is said.
    """
    from longwire.config import sources

    if os.environ.get(sources.DSN):
        return load(None, None, fanout)
    here = local and not sources.on_lambda(os.environ)
    return load(sources.LOCAL, None, fanout) if here else None


def make_backend(settings: Settings) -> Backend:
    """Make the store that the settings name; only its own module is imported."""
    return backends.make(settings.backend, settings.params)


def _from_dict(ws_config: Mapping[str, Any]) -> Settings:
    if not isinstance(ws_config, Mapping):
        raise ConfigurationError(f"ws_config must be a dict, not {_type_of(ws_config)}")
    _check_places(ws_config)
    own = _read(OWN, ws_config, _place("ws_config[{}]"), "a setting")
    if "backend" not in own:
        raise ConfigurationError(f"ws_config['backend'] is missing; use {_listed(STORES, 'or')}")
    backend, params = own.pop("backend"), own.pop("params", {})
    if isinstance(backend, Backend):
        if params:
            raise ConfigurationError(
                "ws_config['params'] must be empty when 'backend' is an object"
            )
        return _settings(backend, {}, own)
    if backend not in STORES:
        hint = _nearest(backend, STORES)
        raise ConfigurationError(
            f"ws_config['backend'] is {shown(backend)}, which is unknown; {hint}"
        )
    place = _place("ws_config['params'][{}]")
    return _settings(backend, _read_params(backend, params, place, "ws_config['params']"), own)


def _check_places(ws_config: Mapping[str, Any]) -> None:
    """Say so when a parameter of the store stands beside `params` instead of in it."""
    backend = ws_config.get("backend")
    store = STORES.get(backend) if isinstance(backend, str) else None
    for key in store.keys if store else ():
        if key.name in ws_config:
            raise ConfigurationError(
                f"ws_config[{key.name!r}] is a parameter of {backend}: "
                "it belongs in ws_config['params']"
            )


def _from_dsn(dsn: str) -> Settings:
    if not isinstance(dsn, str):
        raise ConfigurationError(f"dsn must be a string, not {_type_of(dsn)}")
    from longwire.config.dsn import parse_dsn  # only who uses one pays for it

    parsed = parse_dsn(dsn)
    own_keys = [key for key in OWN if key.name not in ("backend", "params")]
    keys = {key.name: key for key in (*own_keys, *STORES[parsed.backend].keys)}
    place = _place("dsn parameter {}")
    given = dict(parsed.params)
    for name, text in parsed.query.items():
        if name not in keys:
            # Behind a "?" in a password comes more of it.
            where = place(text if "@" in text else name)
            raise ConfigurationError(f"{where} is not a setting; {_nearest(name, keys)}")
        if name in given:
            raise ConfigurationError(f"{place(name)} is given twice")
        given[name] = _from_text(keys[name], text, place(name))
    own = {key.name: given.pop(key.name) for key in own_keys if key.name in given}
    own = _read(own_keys, own, place, "a setting")
    return _settings(parsed.backend, _read_params(parsed.backend, given, place, "dsn"), own)


def _from_text(key: Key, text: str, where: str) -> Any:
    try:
        return key.kind.from_text(text)
    except ValueError:
        raise ConfigurationError(f"{where} must be {key.kind.expected}") from None


def _settings(
    backend: str | Backend, params: Mapping[str, Any], own: Mapping[str, Any]
) -> Settings:
    named = {name.removeprefix("api_gateway_"): value for name, value in own.items()}
    if (fanout := named.get("fanout")) is not None:
        named["fanout"] = _fanout(fanout, "ws_config['fanout']")
    if (named.get("client_ip_header") is None) != (not named.get("trusted_proxies")):
        raise ConfigurationError(
            "client_ip_header and trusted_proxies need each other: the header that names the "
            "client, and the networks of the proxies that write it, since anybody else can write "
            "whatever they like"
        )
    if named.get("replay"):
        if named.get("state"):
            raise ConfigurationError(
                "replay and state exclude each other: a replay makes the state of a connection anew"
            )
        named["state"] = False
    return Settings(backend=backend, params=MappingProxyType(dict(params)), **named)


def _fanout(given: Mapping[str, Any], whole: str) -> Fanout:
    read = _read(FANOUT_KEYS, given, _place(f"{whole}[{{}}]"), "a setting of fanout")
    if "queue_url" not in read:
        raise ConfigurationError(f"{whole} needs 'queue_url', the URL of an SQS queue")
    return Fanout(**read)


def _read(
    keys: Iterable[Key], given: Mapping[str, Any], place: Callable[[str], str], what: str
) -> dict[str, Any]:
    known = {key.name: key for key in keys}
    for name in given:
        if name not in known:
            raise ConfigurationError(f"{place(name)} is not {what}; {_nearest(name, known)}")
    return {name: _value(known[name], value, place(name)) for name, value in given.items()}


def _value(key: Key, value: object, where: str) -> Any:
    if key.kind.takes(value):
        return key.kind.normal(value)
    text = f"{where} must be {key.kind.expected}"
    if not key.kind.takes_type(value):
        text += f", not {_type_of(value)}"
    elif isinstance(value, (str, int, float)) and not key.secret:
        text += f", not {shown(value)}"
    raise ConfigurationError(text)


def _read_params(
    backend: str, given: Mapping[str, Any], place: Callable[[str], str], whole: str
) -> dict[str, Any]:
    store = STORES[backend]
    defaults = {key.name: key.default for key in store.keys}
    # None says "not given" wherever that is what the default says.
    given = {
        name: value
        for name, value in given.items()
        if value is not None or defaults.get(name, "unknown") is not None
    }
    params = _read(store.keys, given, place, f"a parameter of {backend}")
    _check_needs(f"{whole} for {backend}", store, params)
    return defaults | params


def _check_needs(whole: str, store: StoreParams, params: Mapping[str, Any]) -> None:
    begun = [keys for keys in store.needs if any(key in params for key in keys)]
    wanted = ", or ".join(_listed(keys, "and") for keys in store.needs)
    if len(begun) > 1:
        raise ConfigurationError(f"{whole} needs either {wanted}, not both")
    if not store.needs or any(all(key in params for key in keys) for keys in begun):
        return
    missing = [key for keys in begun for key in keys if key not in params]
    detail = f"; missing: {_listed(missing, 'and')}" if missing else ""
    raise ConfigurationError(f"{whole} needs {wanted}{detail}")


def _place(template: str) -> Callable[[str], str]:
    """Return what names a key for an error text, though it may be something else."""
    return lambda name: template.format(shown(name))


def _nearest(name: object, known: Iterable[str]) -> str:
    names = list(known)
    if not names:
        return "there are none"
    import difflib  # only for those who have made a mistake

    near = difflib.get_close_matches(str(name), names, 1)
    return f"did you mean {near[0]!r}?" if near else f"use {_listed(names, 'or')}"


def _listed(names: Iterable[str], last: str) -> str:
    *head, tail = map(repr, names)
    return f"{', '.join(head)} {last} {tail}" if head else tail


def _type_of(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"
