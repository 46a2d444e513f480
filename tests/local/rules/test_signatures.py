"""Which requests are signed as they must be, and what AWS says of the others."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from longwire.exceptions import ConfigurationError
from longwire.local.rules.management_api import ManagementRequest
from longwire.local.rules.signatures import Signer, refusal, signer_from
from longwire_aws.sigv4 import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.local.rules.management_api import JSONResponse

KEYS = Credentials("AKIDEXAMPLE", "s3cret/key+of=nobody")
TEMPORARY = Credentials("ASIAEXAMPLE", "another-s3cret", "t0ken//of+a==role")
CALLER = Signer(KEYS, "eu-west-1")
NOW = datetime(2025, 1, 1, 0, 0, 0, tzinfo=UTC).timestamp()
HOST = "127.0.0.1:3001"
TARGET = "/local/@connections/L0SM9cOFvHcCIhw%3D"
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your "
    "AWS Secret Access Key and signing method. Consult the service documentation for details."
)
UNKNOWN = "The security token included in the request is invalid."


class BotocoreSigner:
    """botocore's signer, whose clock stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._auth = pytest.importorskip("botocore.auth", reason="botocore is not installed")
        at = datetime.fromtimestamp(NOW, UTC)
        monkeypatch.setattr(self._auth, "get_current_datetime", lambda: at)

    def __call__(
        self,
        method: str = "POST",
        target: str = TARGET,
        body: bytes = b"hello",
        *,
        headers: tuple[tuple[str, str], ...] = (),
        keys: Credentials = KEYS,
        region: str = CALLER.region,
        service: str = "execute-api",
    ) -> ManagementRequest:
        """Return a signed request."""
        outgoing: Any = pytest.importorskip("botocore.awsrequest").AWSRequest(
            method, f"http://{HOST}{target}", headers=dict(headers), data=body
        )
        frozen = pytest.importorskip("botocore.credentials").Credentials(*keys)
        self._auth.SigV4Auth(frozen, service, region).add_auth(outgoing)
        return ManagementRequest(method, target, [("Host", HOST), *outgoing.headers.items()], body)


@pytest.fixture
def sign(monkeypatch: pytest.MonkeyPatch) -> BotocoreSigner:
    return BotocoreSigner(monkeypatch)


def header(request: ManagementRequest, name: str) -> str:
    return dict(request.headers)[name]


def with_header(request: ManagementRequest, name: str, value: str | None) -> ManagementRequest:
    """Return the request with another value of a header, or without it."""
    headers = [(given, old) for given, old in request.headers if given.lower() != name.lower()]
    return request._replace(headers=headers if value is None else [*headers, (name, value)])


def rewritten(request: ManagementRequest, pattern: str, replacement: str) -> ManagementRequest:
    """Return the request with something replaced in its Authorization header."""
    old = header(request, "Authorization")
    new = re.sub(pattern, replacement, old)
    assert new != old
    return with_header(request, "Authorization", new)


def said(answer: JSONResponse | None) -> tuple[int, str, str | None]:
    assert answer is not None
    return answer.status, json.loads(answer.body)["message"], answer.error_type


def check(
    request: ManagementRequest, caller: Signer = CALLER, *, later: float = 0
) -> JSONResponse | None:
    return refusal(caller, request, NOW + later)


# Good ones


@pytest.mark.parametrize(
    "target",
    [
        TARGET,
        "/local/@connections/L0SM9cOFvHcCIhw=",
        "/local/%40connections/L0SM9cOFvHcCIhw%3d",
        f"{TARGET}?b=2&a=1%20x&a=&%C3%A9",
    ],
)
@pytest.mark.parametrize(
    ("method", "body"),
    [("POST", b"hello"), ("POST", b""), ("POST", bytes(range(256))), ("GET", b""), ("DELETE", b"")],
)
def test_what_botocore_signs_is_right(
    sign: BotocoreSigner, method: str, target: str, body: bytes
) -> None:
    """The path counts as it is on the wire, however much of it is quoted."""
    assert check(sign(method, target, body)) is None


def test_other_headers_may_be_signed(sign: BotocoreSigner) -> None:
    """In any case and with any spaces; what is not signed is nobody's business."""
    request = sign(headers=(("X-Chat", "a  b "), ("Content-Type", "text/plain")))
    assert check(with_header(request, "X-Other", "x")) is None
    assert check(with_header(request, "x-cHAT", " a b")) is None


def test_temporary_keys_have_a_token(sign: BotocoreSigner) -> None:
    """It is among the signed headers."""
    request = sign(keys=TEMPORARY)
    assert "x-amz-security-token" in header(request, "Authorization")
    assert check(request, Signer(TEMPORARY, CALLER.region)) is None


def test_parameters_may_stand_in_any_order(sign: BotocoreSigner) -> None:
    """With or without spaces between them."""
    request = sign()
    _, credential, names, signature = header(request, "Authorization").replace(",", "").split()
    turned = f"AWS4-HMAC-SHA256 {signature},{credential},{names}"
    assert check(with_header(request, "Authorization", turned)) is None


@pytest.mark.parametrize("later", [-300.0, -0.5, 300.0, 300.9])
def test_five_minutes_are_forgiven(sign: BotocoreSigner, later: float) -> None:
    """In either direction."""
    assert check(sign(), later=later) is None


# Nothing to check


@pytest.mark.parametrize("value", [None, ""])
def test_no_signature(sign: BotocoreSigner, value: str | None) -> None:
    """Nor does one in the query count."""
    answer = check(with_header(sign(), "Authorization", value))
    expected = (403, "Missing Authentication Token", "MissingAuthenticationTokenException")
    assert said(answer) == expected


@pytest.mark.parametrize(
    "value", ["Bearer abc", "abc", "AWS4-HMAC-SHA256", " ", "Basic c2VjcmV0Og=="]
)
def test_another_kind_of_authorization_is_incomplete(sign: BotocoreSigner, value: str) -> None:
    """Everything that is missing is named; what was there is not."""
    request = with_header(with_header(sign(), "Authorization", value), "X-Amz-Date", None)
    assert said(check(request)) == (
        403,
        "Authorization header requires 'Credential' parameter. "
        "Authorization header requires 'Signature' parameter. "
        "Authorization header requires 'SignedHeaders' parameter. "
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        "IncompleteSignatureException",
    )


@pytest.mark.parametrize("name", ["Credential", "SignedHeaders", "Signature"])
@pytest.mark.parametrize("rest", ["", "{name}", "{name}="])
def test_each_parameter_is_needed(sign: BotocoreSigner, name: str, rest: str) -> None:
    """With a value."""
    request = rewritten(sign(), rf"{name}=[^,]+", rest.format(name=name))
    message = f"Authorization header requires '{name}' parameter."
    assert said(check(request)) == (403, message, "IncompleteSignatureException")


def test_another_algorithm_is_incomplete(sign: BotocoreSigner) -> None:
    """There is one."""
    request = rewritten(sign(), "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")
    message = "Unsupported AWS 'algorithm' (only AWS4-HMAC-SHA256 for now)"
    assert said(check(request)) == (403, message, "IncompleteSignatureException")


@pytest.mark.parametrize("scope", ["", "/20250101/eu-west-1", "/20250101/a/b/c/aws4_request"])
def test_a_credential_has_five_parts(sign: BotocoreSigner, scope: str) -> None:
    """Neither fewer nor more."""
    request = rewritten(sign(), r"/20250101/[^,]+", scope)
    _, message, error_type = said(check(request))
    assert message.startswith("Credential must have exactly 5 slash-delimited elements")
    assert error_type == "IncompleteSignatureException"


@pytest.mark.parametrize(
    "date",
    [
        "2025-01-01T00:00:00Z",
        "20251301T000000Z",
        "20250101T000000",
        "20250101T00000Z",
        "2025 1 1T000000Z",
        "\u0662\u0660\u0662\u0665\u0660\u0661\u0660\u0661T000000Z",
        "Wed, 01 Jan 2025 00:00:00 GMT",
    ],
)
def test_a_date_has_one_form(sign: BotocoreSigner, date: str) -> None:
    """As AWS writes it, and a real one."""
    answer = check(with_header(sign(), "X-Amz-Date", date))
    message = "Date must be in ISO-8601 'basic format'."
    assert said(answer) == (403, message, "IncompleteSignatureException")


def test_two_dates_are_none(sign: BotocoreSigner) -> None:
    """Of two it is not clear which one was signed."""
    request = sign()
    twice = request._replace(headers=[*request.headers, ("x-amz-date", "20250101T000000Z")])
    message = "Date must be in ISO-8601 'basic format'."
    assert said(check(twice)) == (403, message, "IncompleteSignatureException")


# Wrong ones


def test_an_old_signature_has_expired(sign: BotocoreSigner) -> None:
    """After more than five minutes of the gateway's clock."""
    assert said(check(sign(), later=660)) == (
        403,
        "Signature expired: 20250101T000000Z is now earlier than 20250101T000600Z "
        "(20250101T001100Z - 5 min.)",
        "InvalidSignatureException",
    )
    assert check(sign(), later=301) is not None


def test_a_signature_of_tomorrow_is_not_current(sign: BotocoreSigner) -> None:
    """More than five minutes ahead of the gateway's clock."""
    assert said(check(sign(), later=-660)) == (
        403,
        "Signature not yet current: 20250101T000000Z is still later than 20241231T235400Z "
        "(20241231T234900Z + 5 min.)",
        "InvalidSignatureException",
    )
    assert check(sign(), later=-301) is not None


@pytest.mark.parametrize(
    ("name", "shown"), [("host", "'Host' or ':authority'"), ("x-amz-date", "'X-Amz-Date'")]
)
def test_host_and_date_must_be_signed(sign: BotocoreSigner, name: str, shown: str) -> None:
    """Otherwise a signature would be good elsewhere or for ever."""
    request = rewritten(sign(headers=(("X-A", "1"),)), rf"{name};|;{name}", "")
    message = f"{shown} must be a 'SignedHeader' in the AWS Authorization."
    assert said(check(request)) == (403, message, "InvalidSignatureException")


def test_a_token_that_is_sent_must_be_signed(sign: BotocoreSigner) -> None:
    """Also the right one."""
    request = with_header(sign(), "X-Amz-Security-Token", TEMPORARY.token)
    message = "'X-Amz-Security-Token' must be a 'SignedHeader' in the AWS Authorization."
    assert said(check(request)) == (403, message, "InvalidSignatureException")


def test_a_signed_header_must_be_sent(sign: BotocoreSigner) -> None:
    """A proxy may have taken it out."""
    request = with_header(sign(headers=(("X-Chat", "1"),)), "X-Chat", None)
    message = "A header is named as a SignedHeader, but it does not exist in the HTTP request."
    assert said(check(request)) == (403, message, "IncompleteSignatureException")


@pytest.mark.parametrize(
    ("region", "service", "message"),
    [
        (
            "us-east-1",
            "execute-api",
            "Credential should be scoped to a valid region, not 'us-east-1'. ",
        ),
        ("Zs3cret", "execute-api", "Credential should be scoped to a valid region. "),
        (
            "eu-west-1",
            "apigateway",
            "Credential should be scoped to correct service: 'execute-api'. ",
        ),
        (
            "us-gov-east-1",
            "s3",
            "Credential should be scoped to a valid region, not 'us-gov-east-1'. "
            "Credential should be scoped to correct service: 'execute-api'. ",
        ),
    ],
)
def test_the_scope_must_be_the_one_of_the_api(
    sign: BotocoreSigner, region: str, service: str, message: str
) -> None:
    """All that is wrong is said; what does not look like a region is not repeated."""
    answer = check(sign(region=region, service=service))
    assert said(answer) == (403, message, "InvalidSignatureException")


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (
            "aws4_request",
            "aws5_request",
            "Credential should be scoped with a valid terminator: 'aws4_request'. ",
        ),
        (
            "/20250101/",
            "/20250102/",
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date "
            "from HTTP. ",
        ),
    ],
)
def test_the_rest_of_the_scope_must_be_right(
    sign: BotocoreSigner, pattern: str, replacement: str, message: str
) -> None:
    """Its end and its day."""
    answer = check(rewritten(sign(), pattern, replacement))
    assert said(answer) == (403, message, "InvalidSignatureException")


@pytest.mark.parametrize("access_key", ["AKIDOTHER", "akidexample", "AKIDEXAMPLEX", "é"])
def test_an_access_key_must_be_known(sign: BotocoreSigner, access_key: str) -> None:
    """To the letter."""
    answer = check(sign(keys=KEYS._replace(access_key=access_key)))
    assert said(answer) == (403, UNKNOWN, "UnrecognizedClientException")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (TEMPORARY, TEMPORARY._replace(token=None)),
        (TEMPORARY._replace(token=None), TEMPORARY),
        (TEMPORARY._replace(token="another"), TEMPORARY),
    ],
)
def test_the_token_belongs_to_the_keys(
    sign: BotocoreSigner, sent: Credentials, expected: Credentials
) -> None:
    """One too many, none, or another: the keys are unknown."""
    answer = check(sign(keys=sent), Signer(expected, CALLER.region))
    assert said(answer) == (403, UNKNOWN, "UnrecognizedClientException")


def test_another_secret_makes_another_signature(sign: BotocoreSigner) -> None:
    """The answer shows neither."""
    answer = check(sign(keys=KEYS._replace(secret_key="wrong")))
    assert said(answer) == (403, MISMATCH, "InvalidSignatureException")


TAMPERING: dict[str, Callable[[ManagementRequest], ManagementRequest]] = {
    "method": lambda request: request._replace(method="DELETE"),
    "case of the method": lambda request: request._replace(method="post"),
    "connection": lambda request: request._replace(target=TARGET.replace("L0SM", "L1SM")),
    "quoting": lambda request: request._replace(target=TARGET.replace("%3D", "=")),
    "stage": lambda request: request._replace(target=TARGET.replace("local", "prod")),
    "query": lambda request: request._replace(target=f"{TARGET}?a=1"),
    "body": lambda request: request._replace(body=b"hellp"),
    "no body": lambda request: request._replace(body=b""),
    "host": lambda request: with_header(request, "Host", "127.0.0.1:3002"),
    "signed header": lambda request: with_header(request, "X-Chat", "other"),
    "header twice": lambda request: request._replace(
        headers=[*request.headers, ("x-chat", "other")]
    ),
    "second": lambda request: with_header(request, "X-Amz-Date", "20250101T000001Z"),
    "signature": lambda request: with_header(
        request, "Authorization", header(request, "Authorization")[:-1] + "-"
    ),
    "longer signature": lambda request: with_header(
        request,
        "Authorization",
        header(request, "Authorization").replace("Signature=", "Signature=A"),
    ),
    "short signature": lambda request: rewritten(request, "Signature=.*", "Signature=é"),
    "fewer signed headers": lambda request: rewritten(request, ";x-chat", ""),
}


@pytest.mark.parametrize("tamper", TAMPERING.values(), ids=TAMPERING)
def test_nothing_that_is_signed_can_be_changed(
    sign: BotocoreSigner, tamper: Callable[[ManagementRequest], ManagementRequest]
) -> None:
    """The same answer to all of them."""
    request = sign(headers=(("X-Chat", "room 1"),))
    assert check(request) is None
    assert said(check(tamper(request))) == (403, MISMATCH, "InvalidSignatureException")


def test_the_hash_of_the_body_may_be_signed_too(sign: BotocoreSigner) -> None:
    """Some SDKs send it with every request."""
    digest = hashlib.sha256(b"hello").hexdigest()
    request = sign(headers=(("X-Amz-Content-SHA256", digest),))
    assert "x-amz-content-sha256" in header(request, "Authorization")
    assert check(request) is None
    changed = with_header(request, "X-Amz-Content-SHA256", "0" * 64)
    assert said(check(changed)) == (403, MISMATCH, "InvalidSignatureException")


def test_no_answer_has_a_secret_in_it(sign: BotocoreSigner) -> None:
    """Nor a signature or a token, whichever is wrong."""
    token = Signer(TEMPORARY, CALLER.region)
    request = sign(keys=TEMPORARY)
    signature = header(request, "Authorization").rpartition("=")[2]
    for tampered in (
        *(
            rewritten(request, name, "X")
            for name in ("Credential", "Signature=", "host", "eu-", "ASIA")
        ),
        rewritten(request, "eu-west-1", signature),
        request._replace(body=b"x"),
    ):
        for caller in (CALLER, token):
            answer = check(tampered, caller)
            assert answer is not None
            text = answer.body.decode() + repr(answer.headers)
            for secret in (signature, TEMPORARY.secret_key, TEMPORARY.token, KEYS.secret_key):
                assert secret is not None
                assert secret not in text


# The environment

ENVIRON = {
    "AWS_ACCESS_KEY_ID": KEYS.access_key,
    "AWS_SECRET_ACCESS_KEY": KEYS.secret_key,
    "AWS_DEFAULT_REGION": "eu-west-1",
}


def test_the_caller_has_the_keys_of_the_environment() -> None:
    """An empty token is none."""
    assert signer_from(ENVIRON) == CALLER
    assert signer_from({**ENVIRON, "AWS_SESSION_TOKEN": ""}) == CALLER
    temporary = signer_from({**ENVIRON, "AWS_SESSION_TOKEN": "t"})
    assert temporary.credentials == KEYS._replace(token="t")


def test_the_region_of_a_function_goes_first() -> None:
    """AWS_REGION is what Lambda sets."""
    assert signer_from({**ENVIRON, "AWS_REGION": "us-east-1"}).region == "us-east-1"


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({}, "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION (or AWS_DEFAULT_REGION)"),
        ({**ENVIRON, "AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY"),
        ({**ENVIRON, "AWS_DEFAULT_REGION": ""}, "AWS_REGION (or AWS_DEFAULT_REGION)"),
    ],
)
def test_what_is_missing_is_named(environ: dict[str, str], missing: str) -> None:
    """With what to set it to."""
    with pytest.raises(ConfigurationError) as caught:
        signer_from(environ)
    assert str(caught.value) == (
        f"--verify-signatures: set {missing} in the environment; any values will do, since only "
        "the function and this gateway have to agree"
    )


def test_a_caller_shows_no_secret() -> None:
    """Neither the secret key nor the token."""
    text = repr(Signer(TEMPORARY, "eu-west-1"))
    assert "ASIAEXAMPLE" in text
    assert TEMPORARY.secret_key not in text
    assert str(TEMPORARY.token) not in text
