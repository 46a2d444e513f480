"""Whether a request to the management API is signed as AWS wants it, and the 403 if it is not.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-control-access-iam.html
https://repost.aws/knowledge-center/api-gateway-troubleshoot-403-forbidden

The types of the errors and most texts are those that API Gateway was seen to answer. No answer of
its own was found, and the text is AWS's for other services or our own, for: an algorithm, a
terminator, a date or a credential of the wrong form, and a header that is signed and not sent. AWS
repeats what it was sent in some of its texts; here only a region and the time are repeated, and
only when they look like it, since anything else may be a secret.

Not supported: signatures in the query, and a `Date` header instead of `X-Amz-Date`.
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from longwire.exceptions import ConfigurationError
from longwire.local.rules.management_api import JSONResponse, json_response
from longwire_aws.endpoints import environment_region
from longwire_aws.sigv4 import Credentials, authorize, trimmed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from longwire.local.rules.management_api import ManagementRequest

SERVICE = "execute-api"
# Seconds that the clock of the caller may be off.
CLOCK_SKEW = 5 * 60

_ALGORITHM = "AWS4-HMAC-SHA256"
_TERMINATOR = "aws4_request"
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_TIME = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_REGION = re.compile(r"[a-z]{2,8}(?:-[a-z]{2,12}){1,3}-\d{1,2}", re.ASCII)

_INCOMPLETE = "IncompleteSignatureException"
_INVALID = "InvalidSignatureException"


@dataclass(frozen=True, slots=True)
class Signer:
    """The one that may use the management API; only its access key and region are ever shown."""

    credentials: Credentials
    region: str


class _Claim(NamedTuple):
    """What a request says about its signature; `time` is in epoch seconds."""

    access_key: str
    scope: tuple[str, ...]
    signed_headers: frozenset[str]
    signature: str
    time: int


class _RefusedError(Exception):
    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.answer = json_response(403, message, error_type)


def signer_from(environ: Mapping[str, str]) -> Signer:
    """Return the caller whose keys and region are in the environment, as they are now.

    A function reads them at each post, so keys that rotate are not for `--verify-signatures`.

    Raises:
        ConfigurationError: some are missing; the text names them.
    """
    region = environment_region(environ)
    access_key = environ.get("AWS_ACCESS_KEY_ID")
    secret_key = environ.get("AWS_SECRET_ACCESS_KEY")
    if access_key and secret_key and region:
        token = environ.get("AWS_SESSION_TOKEN") or None
        return Signer(Credentials(access_key, secret_key, token), region)
    needed = {
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_REGION (or AWS_DEFAULT_REGION)": region,
    }
    missing = ", ".join(name for name, value in needed.items() if not value)
    raise ConfigurationError(
        f"--verify-signatures: set {missing} in the environment; any values will do, since only "
        "the function and this gateway have to agree"
    )


def refusal(caller: Signer, request: ManagementRequest, now: float) -> JSONResponse | None:
    """Return the 403 that AWS gives; None when `caller` has signed the request.

    Args:
        now: epoch seconds.
    """
    headers = _headers(request)
    try:
        claim = _claim(headers)
        _check_time(claim.time, now)
        _check_signed_headers(claim.signed_headers, headers)
        _check_scope(claim, caller.region)
        _check_keys(claim.access_key, headers.get("x-amz-security-token"), caller.credentials)
        _check_signature(claim, request, headers, caller)
    except _RefusedError as refused:
        return refused.answer
    return None


def _headers(request: ManagementRequest) -> dict[str, str]:
    """Return the headers by lower-case name; repeated ones become one, which is then no date."""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        name = name.lower()
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _claim(headers: Mapping[str, str]) -> _Claim:
    authorization = headers.get("authorization")
    if not authorization:
        raise _RefusedError("MissingAuthenticationTokenException", "Missing Authentication Token")
    parameters = _parameters(authorization)
    _check_complete(parameters, headers)
    if authorization.split(maxsplit=1)[0] != _ALGORITHM:
        raise _RefusedError(_INCOMPLETE, f"Unsupported AWS 'algorithm' (only {_ALGORITHM} for now)")
    access_key, *scope = parameters["Credential"].split("/")
    if len(scope) != 4:
        raise _RefusedError(
            _INCOMPLETE,
            "Credential must have exactly 5 slash-delimited elements, "
            "e.g. keyid/date/region/service/term",
        )
    return _Claim(
        access_key,
        tuple(scope),
        frozenset(parameters["SignedHeaders"].split(";")),
        parameters["Signature"],
        _epoch(headers["x-amz-date"]),
    )


def _parameters(authorization: str) -> dict[str, str]:
    _, *parts = re.split(r"[,\s]+", authorization)
    return {name: value for name, _, value in (part.partition("=") for part in parts) if value}


def _check_complete(parameters: Mapping[str, str], headers: Mapping[str, str]) -> None:
    missing = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if name not in parameters
    ]
    if not headers.get("x-amz-date"):
        missing.append(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        )
    if missing:
        raise _RefusedError(_INCOMPLETE, " ".join(missing))


def _epoch(timestamp: str) -> int:
    try:
        # `strptime` alone would also read other spellings of a time.
        if not _TIME.fullmatch(timestamp):
            raise ValueError
        return calendar.timegm(time.strptime(timestamp, _TIME_FORMAT))
    except ValueError:
        raise _RefusedError(_INCOMPLETE, "Date must be in ISO-8601 'basic format'.") from None


def _timestamp(epoch: float) -> str:
    return time.strftime(_TIME_FORMAT, time.gmtime(epoch))


def _check_time(signed_at: int, now: float) -> None:
    sent, clock = _timestamp(signed_at), _timestamp(now)
    earliest, latest = int(now) - CLOCK_SKEW, int(now) + CLOCK_SKEW
    if signed_at < earliest:
        raise _RefusedError(
            _INVALID,
            f"Signature expired: {sent} is now earlier than {_timestamp(earliest)} "
            f"({clock} - 5 min.)",
        )
    if signed_at > latest:
        raise _RefusedError(
            _INVALID,
            f"Signature not yet current: {sent} is still later than {_timestamp(latest)} "
            f"({clock} + 5 min.)",
        )


def _check_signed_headers(signed: frozenset[str], headers: Mapping[str, str]) -> None:
    needed = {"host": "'Host' or ':authority'", "x-amz-date": "'X-Amz-Date'"}
    if "x-amz-security-token" in headers:
        needed["x-amz-security-token"] = "'X-Amz-Security-Token'"
    for name, shown in needed.items():
        if name not in signed:
            raise _RefusedError(
                _INVALID, f"{shown} must be a 'SignedHeader' in the AWS Authorization."
            )
    if not signed <= headers.keys():
        raise _RefusedError(
            _INCOMPLETE,
            "A header is named as a SignedHeader, but it does not exist in the HTTP request.",
        )


def _check_scope(claim: _Claim, region: str) -> None:
    date, given_region, service, terminator = claim.scope
    wrong = ""
    if given_region != region:
        shown = f", not '{given_region}'" if _REGION.fullmatch(given_region) else ""
        wrong += f"Credential should be scoped to a valid region{shown}. "
    if service != SERVICE:
        wrong += f"Credential should be scoped to correct service: '{SERVICE}'. "
    if terminator != _TERMINATOR:
        wrong += f"Credential should be scoped with a valid terminator: '{_TERMINATOR}'. "
    if date != _timestamp(claim.time)[:8]:
        wrong += (
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date "
            "from HTTP. "
        )
    if wrong:
        # The space at the end is AWS's.
        raise _RefusedError(_INVALID, wrong)


def _check_keys(access_key: str, token: str | None, expected: Credentials) -> None:
    known = _same(access_key, expected.access_key) and _same(token or "", expected.token or "")
    if not known:
        raise _RefusedError(
            "UnrecognizedClientException", "The security token included in the request is invalid."
        )


def _check_signature(
    claim: _Claim, request: ManagementRequest, headers: Mapping[str, str], caller: Signer
) -> None:
    path, _, query = request.target.partition("?")
    expected = authorize(
        request.method,
        path,
        query,
        {name: trimmed(headers[name]) for name in claim.signed_headers},
        hashlib.sha256(request.body).hexdigest(),
        credentials=caller.credentials,
        service=SERVICE,
        region=caller.region,
        timestamp=_timestamp(claim.time),
    )
    if not _same(_parameters(expected)["Signature"], claim.signature):
        raise _RefusedError(
            _INVALID,
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method. Consult the service "
            "documentation for details.",
        )


def _same(one: str, other: str) -> bool:
    # Only bytes may be beyond ASCII in this comparison.
    return hmac.compare_digest(one.encode(), other.encode())
