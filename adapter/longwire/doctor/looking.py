"""Calls of AWS that only read, and what is made of those that are refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire.doctor.documents import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

_REFUSED = {
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "AuthorizationError",
    "AuthorizationErrorException",
    "NotAuthorized",
}
_KEYS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
    "MissingAuthenticationToken",
}
# Where the action of IAM has another name than the operation.
_ACTIONS = {
    ("s3", "GetBucketLifecycleConfiguration"): "s3:GetLifecycleConfiguration",
}


class MissingError(Exception):
    """What was asked for is not there."""


class RefusedAction(NamedTuple):
    """An action that the caller may not do."""

    action: str
    of: str


class AWSReader:
    """Asks AWS, remembers what it may not, and gives nothing then."""

    def __init__(self, region: str | None) -> None:
        from boto3.session import Session
        from botocore.exceptions import BotoCoreError

        try:
            # boto3 itself reads AWS_DEFAULT_REGION alone.
            self._session = Session(region_name=region or os.environ.get("AWS_REGION"))
            self._have_keys = self._session.get_credentials() is not None
        except BotoCoreError as error:  # such as a profile that is not there
            raise UnreadableError(str(error)) from None
        self.region: str | None = self._session.region_name
        if self.region is None:
            raise UnreadableError("no region: give --region, or set AWS_REGION")
        if not self._have_keys:
            raise UnreadableError(
                "no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret"
            )
        self._clients: dict[tuple[str, str | None], Any] = {}
        self.refused: list[RefusedAction] = []

    def ask(
        self,
        service: str,
        operation: str,
        *,
        region: str | None = None,
        must: bool = False,
        **given: Any,
    ) -> dict[str, Any]:
        """Return the answer of one operation; an empty one if it is refused.

        Raises:
            MissingError: what it is about is not there.
            UnreadableError: nothing of AWS can be asked at all; with `must` also if it is refused.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            client = self._client(service, region)
            answer: dict[str, Any] = getattr(client, _snake(operation))(**given)
            return answer
        except ClientError as error:
            code, status = (
                _code(error),
                error.response.get("ResponseMetadata", {}).get("HTTPStatusCode"),
            )
            if code in _KEYS:
                raise UnreadableError(f"AWS does not take the credentials: {code}") from None
            if code in _REFUSED or code.endswith("AccessDenied"):
                return self._refusal(service, operation, given, must=must)
            if _is_missing(code, str(error)) or status == 404:
                raise MissingError(str(error)) from None
            raise UnreadableError(f"{service}:{operation} failed: {error}") from None
        except BotoCoreError as error:
            raise UnreadableError(f"{service}:{operation} failed: {error}") from None

    def pages(self, service: str, operation: str, items: str, **given: Any) -> Iterator[Any]:
        """Give all items of an operation that gives them in pages."""
        token: dict[str, Any] = {}
        while True:
            answer = self.ask(service, operation, **given, **token)
            yield from answer.get(items) or []
            name = next(
                (one for one in ("NextToken", "NextMarker", "Marker") if answer.get(one)), None
            )
            if name is None or (name == "Marker" and not answer.get("IsTruncated")):
                return
            token = {"Marker" if name == "NextMarker" else name: answer[name]}

    def _client(self, service: str, region: str | None) -> Any:
        from botocore.config import Config

        key = (service, region)
        if key not in self._clients:
            config = Config(connect_timeout=10, read_timeout=30, retries={"max_attempts": 3})
            client: Any = self._session.client
            self._clients[key] = client(service, region_name=region or self.region, config=config)
        return self._clients[key]

    def _refusal(
        self, service: str, operation: str, given: dict[str, Any], *, must: bool
    ) -> dict[str, Any]:
        action = action_of(service, operation)
        if must:
            raise UnreadableError(f"missing permission: allow {action} for these credentials")
        one = RefusedAction(action, str(next(iter(given.values()), "")))
        if action not in [other.action for other in self.refused]:
            self.refused.append(one)
        return {}


def action_of(service: str, operation: str) -> str:
    """Return the action of IAM that an operation needs."""
    if service == "apigatewayv2":
        return "apigateway:GET"
    return _ACTIONS.get((service, operation), f"{service}:{operation}")


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _is_missing(code: str, text: str) -> bool:
    words = ("NotFound", "NonExistent", "NoSuch", "QueueDoesNotExist")
    return any(word in code for word in words) or (
        code == "ValidationError" and "does not exist" in text
    )


def _snake(operation: str) -> str:
    return "".join(f"_{one.lower()}" if one.isupper() else one for one in operation).lstrip("_")
