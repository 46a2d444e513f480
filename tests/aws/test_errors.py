"""What AWS says when it refuses, in all its forms, and what is made of it."""

from __future__ import annotations

import pytest

from longwire_aws.errors import Refusal, advice, are_keys_expired, is_clock_wrong, read_refusal
from longwire_aws.http import Response

# 2025-11-11T13:45:35Z
NOW = 1762868735


@pytest.mark.parametrize(
    ("headers", "body", "refusal"),
    [
        (
            {},
            b'{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",'
            b'"message":"Requested resource not found"}',
            Refusal("ResourceNotFoundException", "Requested resource not found"),
        ),
        (
            {},
            b'{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"User: no"}',
            Refusal("AccessDeniedException", "User: no"),
        ),
        (
            {"x-amzn-errortype": "GoneException:http://internal.amazon.com/coral/"},
            b"",
            Refusal("GoneException", ""),
        ),
        (
            {},
            b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code>'
            b"<Message>The specified key does not exist.</Message><Key>a</Key></Error>",
            Refusal("NoSuchKey", "The specified key does not exist."),
        ),
        (
            {},
            b'<Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Code>SlowDown</Code></Error>',
            Refusal("SlowDown", ""),
        ),
        ({}, b"<html><body>502 Bad Gateway</body></html>", Refusal("", "")),
        ({}, b"<html><body>unclosed", Refusal("", "")),
        ({}, b"not JSON", Refusal("", "")),
        ({}, b"[1]", Refusal("", "")),
        ({}, b'{"__type": 7, "message": null}', Refusal("", "")),
        ({}, b"\xff\xfe\x00", Refusal("", "")),
        ({}, b"", Refusal("", "")),
        ({}, b'{"message":"first\\nThe Canonical String was token"}', Refusal("", "first")),
        ({}, b'{"message":"%s"}' % (b"x" * 400), Refusal("", "x" * 300)),
    ],
)
def test_code_and_message_are_read(headers: dict[str, str], body: bytes, refusal: Refusal) -> None:
    """From JSON, XML or a header; of the message just one line."""
    assert read_refusal(Response(400, headers, body)) == refusal


@pytest.mark.parametrize(
    ("refusal", "expired", "clock"),
    [
        (Refusal("ExpiredTokenException", ""), True, False),
        (Refusal("ExpiredToken", ""), True, False),
        (Refusal("", "The security token included in the request is expired"), True, False),
        (Refusal("RequestTimeTooSkewed", ""), False, True),
        (Refusal("InvalidSignatureException", "Signature expired: x is now ..."), False, True),
        (Refusal("", "Signature not yet current: x is still ..."), False, True),
        (Refusal("InvalidSignatureException", "The request signature we ..."), False, False),
        (Refusal("", ""), False, False),
    ],
)
def test_old_keys_and_wrong_clocks_are_told_apart(
    refusal: Refusal, expired: bool, clock: bool
) -> None:
    """Newer keys help with the one, nothing of ours with the other."""
    assert (are_keys_expired(refusal), is_clock_wrong(refusal)) == (expired, clock)


@pytest.mark.parametrize(
    ("refusal", "date", "text"),
    [
        (
            Refusal("RequestTimeTooSkewed", ""),
            "Tue, 11 Nov 2025 13:25:35 GMT",
            "the clock of this machine is wrong (20 minutes ahead of the server): set it",
        ),
        (
            Refusal("RequestTimeTooSkewed", ""),
            "Tue, 11 Nov 2025 14:05:35 GMT",
            "the clock of this machine is wrong (20 minutes behind the server): set it",
        ),
        (
            Refusal("RequestTimeTooSkewed", ""),
            "yesterday",
            "the clock of this machine is wrong: set it",
        ),
        (
            Refusal("ExpiredToken", ""),
            "",
            "these AWS keys have expired and no newer ones were found: renew them",
        ),
        (
            Refusal("UnrecognizedClientException", ""),
            "",
            "AWS does not know these keys: check them, and AWS_SESSION_TOKEN for temporary ones",
        ),
        (
            Refusal("SignatureDoesNotMatch", ""),
            "",
            "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID, or the region is wrong",
        ),
        (Refusal("GoneException", ""), "", ""),
    ],
)
def test_a_refusal_comes_with_advice(refusal: Refusal, date: str, text: str) -> None:
    """Where there is some to give."""
    assert advice(refusal, Response(403, {"date": date}, b""), NOW) == text
