"""Where the AWS keys come from: the environment, or else wherever botocore finds some.

https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html

Lambda puts keys into the environment, and then nothing here costs more than three look-ups. With
SnapStart it sets the address of a credential server instead, and on other machines there are
profiles, SSO and roles: all that is botocore's, which is imported only when it is needed.
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-activate.html
"""

from __future__ import annotations

import asyncio
import importlib
import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from longwire_aws.sigv4 import Credentials
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ACCESS_KEY = "AWS_ACCESS_KEY_ID"
_SECRET_KEY = "AWS_SECRET_ACCESS_KEY"
_TOKEN = "AWS_SESSION_TOKEN"
_NAMES = (_ACCESS_KEY, _SECRET_KEY, _TOKEN)

# A restored snapshot may find these changed, and botocore keeps the ones that it began with.
_PLACES = (
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_PROFILE",
)

# The texts of these errors name profiles and files; those of others may quote a server's answer or
# a line of a file, and so a secret.
_HARMLESS = frozenset(
    {
        "ConfigNotFound",
        "ConfigParseError",
        "LoginRefreshRequired",
        "PartialCredentialsError",
        "ProfileNotFound",
        "RefreshWithMFAUnsupportedError",
        "UnauthorizedSSOTokenError",
    }
)

_ADVICE = (
    f"give the function a role, or set {_ACCESS_KEY} and {_SECRET_KEY} "
    f"(and {_TOKEN} with temporary keys), or AWS_PROFILE to a profile that works"
)


class CredentialsError(Exception):
    """There are no AWS keys to sign with; the text says where they were looked for."""


class CredentialsSource:
    """The keys of this process, as they are now."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        # Only what is looked for first: botocore reads the process's own environment.
        self._environ = os.environ if environ is None else environ
        # `os.environ` encodes what it is asked, and raises for what it has not, which costs ten
        # times as much as to ask what is behind it.
        behind: Any = getattr(self._environ, "_data", self._environ)
        self._ask: Callable[[object], object] = behind.get
        self._names = tuple(map(getattr(self._environ, "encodekey", str), _NAMES))
        self._in_environment: tuple[object, Credentials | None] = (None, None)
        self._found: _Found | None = None
        self._pending: Future[Credentials] | None = None
        self._lock = threading.Lock()

    def current(self) -> Credentials | None:
        """Return the keys if that needs no waiting: the environment's, or found and fresh."""
        credentials = self.in_environment()
        if credentials is None and (found := self._known()) and not found.is_due():
            return found.credentials
        return credentials

    def in_environment(self) -> Credentials | None:
        """Return the keys in the environment, or None when it has none."""
        access_key, secret_key, token = self._names
        now = self._ask(access_key), self._ask(secret_key), self._ask(token)
        before, credentials = self._in_environment
        if now != before:
            credentials = environment_credentials(self._environ)
            self._in_environment = now, credentials
        return credentials

    async def get(self) -> Credentials:
        """Return keys that have not expired; while botocore looks for them, the loop goes on."""
        credentials = self.current()
        if credentials is None:
            credentials = await asyncio.wrap_future(self._search())
        return credentials

    def forget(self) -> None:
        """Look anew next time: this process may go on as another one, from a snapshot."""
        with self._lock:
            self._found = None

    def discard(self, rejected: Credentials) -> None:
        """Look anew next time, since AWS says that these keys expired or were never good."""
        with self._lock:
            if self._found and self._found.credentials == rejected:
                self._found = None

    def _known(self) -> _Found | None:
        found = self._found
        return found if found and found.places == self._places() else None

    def _places(self) -> tuple[str | None, ...]:
        return tuple([self._environ.get(name) for name in _PLACES])

    def _search(self) -> Future[Credentials]:
        """Start a search, or join the one that is under way."""
        with self._lock:
            if self._pending is None:
                self._pending = Future()
                # Otherwise one caller that gives up would cancel it for all.
                self._pending.set_running_or_notify_cancel()
                # Not the loop's executor: an exit would wait for a server that does not answer.
                threading.Thread(
                    target=self._run, args=[self._pending], name="longwire-credentials", daemon=True
                ).start()
            return self._pending

    def _run(self, search: Future[Credentials]) -> None:
        found, failure = None, None
        places = self._places()
        try:
            known = self._known()
            found = _find(places, known.source if known else None, self._environ)
        except CredentialsError as error:
            failure = error
        except Exception as error:
            failure = CredentialsError(_failure_text(error, self._environ))
        with self._lock:
            self._found = found
            self._pending = None
        if found:
            search.set_result(found.credentials)
        else:
            search.set_exception(failure)


class _Found(NamedTuple):
    """Credentials of botocore, what they were when last asked, and what led to them."""

    source: Any
    credentials: Credentials
    places: tuple[str | None, ...]

    def is_due(self) -> bool:
        """Tell whether they expire so soon (botocore: in 15 minutes) that new ones are wanted."""
        refresh_needed = getattr(self.source, "refresh_needed", None)
        return refresh_needed is not None and refresh_needed()


def environment_credentials(environ: Mapping[str, str]) -> Credentials | None:
    """Return the keys in the environment, or None when it has none."""
    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    access_key = environ.get(_ACCESS_KEY)
    if not access_key:
        return None
    secret_key = environ.get(_SECRET_KEY)
    if not secret_key:
        raise CredentialsError(
            f"{_ACCESS_KEY} is in the environment and {_SECRET_KEY} is not: set both, or neither"
        )
    return _checked(Credentials(access_key, secret_key, environ.get(_TOKEN) or None))


def are_in_environment(environ: Mapping[str, str]) -> bool:
    """Tell whether the environment has both keys."""
    return bool(environ.get(_ACCESS_KEY) and environ.get(_SECRET_KEY))


def _checked(credentials: Credentials) -> Credentials:
    """Refuse what no header can carry, such as the line break at the end of a file."""
    for name, key in zip(_NAMES, credentials, strict=True):
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
            raise CredentialsError(
                f"the AWS keys cannot be sent: {name} has a line break, a space or another odd "
                "character in it"
            )
    return credentials


def _find(places: tuple[str | None, ...], source: Any, environ: Mapping[str, str]) -> _Found:
    """Ask `source`, or the first place that has keys. Blocks, for seconds if it comes to that."""
    if source is None:
        source = _first_of_chain(environ)
    # This asks for new ones when they expire soon.
    frozen = source.get_frozen_credentials()
    keys = Credentials(frozen.access_key, frozen.secret_key, frozen.token or None)
    return _Found(source, _checked(keys), places)


def _first_of_chain(environ: Mapping[str, str]) -> Any:
    try:
        # Not an import statement, so that types are checked alike with and without botocore.
        session = importlib.import_module("botocore.session").Session()
    except ImportError:
        raise CredentialsError(_not_installed_text()) from None
    source = session.get_credentials()
    if source is None:
        providers = session.get_component("credential_provider").providers
        raise CredentialsError(_none_text([provider.METHOD for provider in providers], environ))
    return source


def _not_installed_text() -> str:
    return (
        f"no AWS keys: {_ACCESS_KEY} is not in the environment, and botocore, which looks in all "
        "the other places (profiles, SSO, containers, SnapStart, instance roles), is not "
        "installed: set the keys, or pip install 'longwire[dynamodb]'"
    )


def _none_text(methods: list[str], environ: Mapping[str, str]) -> str:
    return (
        f"no AWS keys: {_ACCESS_KEY} is not in the environment, and botocore found none with "
        f"{', '.join(methods)}{_settings_text(environ)}; {_ADVICE}"
    )


def _failure_text(error: Exception, environ: Mapping[str, str]) -> str:
    name = type(error).__name__
    said = f"{name}: {error}" if name in _HARMLESS else f"{name} (details in botocore's debug log)"
    return (
        f"no AWS keys: {_ACCESS_KEY} is not in the environment, and botocore failed with "
        f"{said}{_settings_text(environ)}; {_ADVICE}"
    )


def _settings_text(environ: Mapping[str, str]) -> str:
    """Say which settings led botocore, by name alone: an address may have a password in it."""
    names = [name for name in _PLACES if environ.get(name)]
    return f" (set in the environment: {', '.join(names)})" if names else ""
