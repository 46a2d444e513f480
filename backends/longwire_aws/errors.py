"""What an AWS service says when it refuses a request, and what can be done about it.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from longwire_aws.http import Response

# First as DynamoDB and API Gateway say it, then as S3 does.
_EXPIRED_KEYS = frozenset({"ExpiredTokenException", "ExpiredToken"})
_UNKNOWN_KEYS = frozenset(
    {"UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "InvalidToken"}
)
_WRONG_SIGNATURE = frozenset({"InvalidSignatureException", "SignatureDoesNotMatch"})

# The service did not do what it was asked, and would do it a little later.
_THROTTLED = frozenset(
    {
        "KmsThrottled",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

_TEXT_LIMIT = 300


class Refusal(NamedTuple):
    """Why a service refused; both are "" where the answer is not in the form of AWS."""

    code: str  # for example "ExpiredTokenException"
    message: str


def read_refusal(response: Response) -> Refusal:
    """Read the code and the message of an answer, which may be JSON, XML or only a header."""
    code, message = _from_xml(response.body) or _from_json(response.body)
    code = response.headers.get("x-amzn-errortype") or code
    # "com.amazonaws.dynamodb.v20120810#ThrottlingException", "GoneException:http://internal..."
    code = code.rpartition("#")[2].partition(":")[0]
    # What may follow the first line repeats the request, secrets included.
    first_line = message.strip().partition("\n")[0]
    # Who finds fault with the header `Authorization` repeats it in the same line.
    said = first_line.partition("AWS4-HMAC-SHA256")[0].rstrip()
    return Refusal(code[:_TEXT_LIMIT], said[:_TEXT_LIMIT])


def _from_json(body: bytes) -> tuple[str, str]:
    try:
        said = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(said, dict):
        return "", ""
    code = said.get("__type") or said.get("code")
    message = said.get("message") or said.get("Message")  # IAM's refusals have a capital
    return _text(code), _text(message)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _from_xml(body: bytes) -> tuple[str, str] | None:
    if not body.lstrip().startswith(b"<"):
        return None
    from xml.etree import ElementTree  # only who was refused by S3 pays for it

    try:
        root = ElementTree.fromstring(body)
    except (ElementTree.ParseError, LookupError, ValueError):  # the latter two: odd encodings
        return "", ""
    if root.tag.rpartition("}")[2] != "Error":
        return "", ""
    said = {child.tag.rpartition("}")[2]: child.text or "" for child in root}
    return said.get("Code", ""), said.get("Message", "")


def is_throttled(code: str) -> bool:
    """Tell whether AWS says that it has too much to do."""
    return code in _THROTTLED


def are_keys_expired(refusal: Refusal) -> bool:
    """Tell whether AWS says that the keys were good once."""
    return refusal.code in _EXPIRED_KEYS or (
        refusal.code == ""
        and refusal.message.startswith("The security token included in the request is expired")
    )


def is_clock_wrong(refusal: Refusal) -> bool:
    """Tell whether AWS says that the signature's time is too far from its own."""
    return refusal.code == "RequestTimeTooSkewed" or (
        # API Gateway gives this code in a header, or only the text.
        refusal.code in _WRONG_SIGNATURE | {""}
        and re.match(r"Signature (expired|not yet current)", refusal.message) is not None
    )


def advice(refusal: Refusal, response: Response, now: float) -> str:
    """Say what to do about a refusal; "" where the service's own words are all there is."""
    if is_clock_wrong(refusal):
        return f"the clock of this machine is wrong{_skew(response, now)}: set it"
    if are_keys_expired(refusal):
        return "these AWS keys have expired and no newer ones were found: renew them"
    if refusal.code in _UNKNOWN_KEYS:
        return "AWS does not know these keys: check them, and AWS_SESSION_TOKEN for temporary ones"
    if refusal.code in _WRONG_SIGNATURE:
        return "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID, or the region is wrong"
    return ""


def _skew(response: Response, now: float) -> str:
    from email.utils import parsedate_to_datetime  # dear to import, and seldom needed

    try:
        then = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    except ValueError:
        return ""
    minutes = round(abs(now - then) / 60)
    return f" ({minutes} minutes {'ahead of' if now > then else 'behind'} the server)"
