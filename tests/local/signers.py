"""AWS keys that a function signs with, and the gateway verifies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longwire.local.rules.signatures import Signer
from longwire_aws.sigv4 import Credentials

if TYPE_CHECKING:
    import pytest


CALLER = Signer(Credentials("AKIDLOCAL", "local-s3cret"), "eu-west-1")
TEMPORARY = Signer(Credentials("ASIALOCAL", "local-s3cret", "local/t0ken=="), "eu-west-1")
KEYS = TEMPORARY.credentials
NAMES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)


def use(monkeypatch: pytest.MonkeyPatch, caller: Signer) -> None:
    """Put keys and region into the environment."""
    values = (*caller.credentials, None, caller.region)
    for name, value in zip(NAMES, values, strict=True):
        if value is not None:
            monkeypatch.setenv(name, value)
