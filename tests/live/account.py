"""Somebody's account: boto3's clients, and who and where that is."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, field
from typing import Any

# All that is made has a name that begins so, and a tag with its own name.
PREFIX = "longwire-live-"
TAG = "longwire-live"


class CannotError(Exception):
    """It cannot be done; the text is one line that says what to do."""


@dataclass
class Account:
    """An account and a region.

    Attributes:
        number: of the account.
        endpoint: of an emulator, if it is one.
    """

    region: str
    number: str
    endpoint: str | None
    _session: Any
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str, **options: Any) -> Any:
        """Return the client of a service; it is kept, unless it has options."""
        if options:
            return self._session.client(service, **options)
        if service not in self._clients:
            self._clients[service] = self._session.client(service)
        return self._clients[service]


def find_account() -> Account:
    """Find the person's own credentials, as the AWS CLI does; the keys themselves go nowhere."""
    try:
        boto3 = importlib.import_module("boto3")
    except ModuleNotFoundError:
        raise CannotError("boto3 is not installed: make live installs it") from None
    errors = importlib.import_module("botocore.exceptions")
    try:
        # boto3 knows AWS_DEFAULT_REGION alone.
        session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
    except errors.BotoCoreError as error:  # such as a profile that is not there
        raise CannotError(str(error)) from None
    if session.region_name is None:
        raise CannotError("no region: set AWS_REGION, for example AWS_REGION=eu-west-1")
    try:
        who = session.client("sts").get_caller_identity()
    except errors.NoCredentialsError:
        raise CannotError("no credentials: set AWS_PROFILE, or run `aws configure`") from None
    except (errors.BotoCoreError, errors.ClientError) as error:
        raise CannotError(f"AWS does not say whose credentials these are: {error}") from None
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    return Account(session.region_name, who["Account"], endpoint, session)
