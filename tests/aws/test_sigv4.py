"""Signatures: AWS's published examples, and botocore's for requests of all kinds."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from longwire_aws.sigv4 import Credentials, sign

if TYPE_CHECKING:
    from collections.abc import Sequence

# The keys of AWS's documentation.
S3_EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
SUITE_EXAMPLE = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
HOST = "abc123.execute-api.eu-west-1.amazonaws.com"


def signed(
    method: str = "POST",
    url: str = f"https://{HOST}/prod/@connections/L0SM9cOFvHcCIhw%3D",
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"hello",
    *,
    credentials: Credentials = SUITE_EXAMPLE,
    service: str = "execute-api",
    region: str = "eu-west-1",
    now: float = NOW,
) -> dict[str, str]:
    """Sign with whatever is not the point of a test filled in."""
    added = sign(
        method,
        url,
        headers,
        body,
        credentials=credentials,
        service=service,
        region=region,
        now=now,
    )
    assert len(dict(added)) == len(added)
    return dict(added)


S3_HOST = "https://examplebucket.s3.amazonaws.com"
S3_NAMES = "host;x-amz-content-sha256;x-amz-date"


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "names", "signature"),
    [
        pytest.param(
            "GET",
            "/test.txt",
            [("Range", "bytes=0-9")],
            b"",
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            id="get an object",
        ),
        pytest.param(
            "PUT",
            "/test%24file.text",
            [
                ("Date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
            b"Welcome to Amazon S3.",
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            id="put an object",
        ),
        pytest.param(
            "GET",
            "/?lifecycle",
            [],
            b"",
            S3_NAMES,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            id="get the lifecycle",
        ),
        pytest.param(
            "GET",
            "/?max-keys=2&prefix=J",
            [],
            b"",
            S3_NAMES,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            id="list objects",
        ),
    ],
)
def test_examples_of_the_s3_documentation(
    method: str,
    target: str,
    headers: list[tuple[str, str]],
    body: bytes,
    names: str,
    signature: str,
) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html"""
    added = signed(
        method,
        S3_HOST + target,
        headers,
        body,
        credentials=S3_EXAMPLE,
        service="s3",
        region="us-east-1",
        now=datetime(2013, 5, 24, tzinfo=UTC).timestamp(),
    )
    assert added["X-Amz-Date"] == "20130524T000000Z"
    assert added["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )


def test_the_first_example_of_the_test_suite() -> None:
    """`get-vanilla` of the signature test suite that AWS published for its SDKs."""
    added = signed(
        "GET", "https://example.amazonaws.com/", (), b"", service="service", region="us-east-1"
    )
    assert added == {
        "X-Amz-Date": "20150830T123600Z",
        "Authorization": (
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
            "SignedHeaders=host;x-amz-date, "
            "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        ),
    }


@pytest.mark.parametrize(
    ("service", "token", "names"),
    [
        ("execute-api", None, "X-Amz-Date Authorization"),
        ("execute-api", "t", "X-Amz-Date X-Amz-Security-Token Authorization"),
        ("dynamodb", "t", "X-Amz-Date X-Amz-Security-Token Authorization"),
        ("s3", None, "X-Amz-Date X-Amz-Content-SHA256 Authorization"),
        ("s3", "t", "X-Amz-Date X-Amz-Security-Token X-Amz-Content-SHA256 Authorization"),
    ],
)
def test_the_headers_that_are_added(service: str, token: str | None, names: str) -> None:
    """The hash of the body is a header for S3 alone, the token wherever there is one."""
    added = signed(service=service, credentials=SUITE_EXAMPLE._replace(token=token))
    assert " ".join(added) == names
    assert added.get("X-Amz-Security-Token") == token
    for name in set(added) - {"Authorization"}:
        assert name.lower() in added["Authorization"]


def test_each_part_of_a_request_is_signed() -> None:
    """No two requests that differ in anything have the same signature."""
    base = f"https://{HOST}/prod/@connections/a%3D"
    signatures = [
        signed(url=base),
        signed("GET", base),
        signed(url=base.replace("prod", "test")),
        signed(url=base + "?x=1"),
        signed(url=base.replace("https://", "https://x")),
        signed(url=base.replace(HOST, HOST + ":8443")),
        signed(url=base, body=b"hello!"),
        signed(url=base, headers=[("Content-Type", "text/plain")]),
        signed(url=base, now=NOW + 1),
        signed(url=base, now=NOW + 86400),
        signed(url=base, region="us-east-1"),
        signed(url=base, service="dynamodb"),
        signed(url=base, credentials=SUITE_EXAMPLE._replace(secret_key="other")),
        signed(url=base, credentials=SUITE_EXAMPLE._replace(token="token")),
    ]
    assert len({added["Authorization"] for added in signatures}) == len(signatures)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/a", "/x/../a"),
        ("/a/b/", "//a///./b/"),
        ("", "/"),
        ("/..", "/"),
        ("/a?b", "/a?b="),
        ("/a?b=%2f&a=", "/a?a=&b=/"),
        ("/a?b=~-._", "/a?b=%7E%2d.%5F"),
        ("/a?k=2&k=10", "/a?k=10&k=2"),
        ("/a?", "/a"),
    ],
)
def test_what_aws_takes_for_the_same(one: str, other: str) -> None:
    """Targets that AWS does not tell apart have one signature."""
    assert signed(url=f"https://{HOST}{one}") == signed(url=f"https://{HOST}{other}")


@pytest.mark.parametrize(("one", "other"), [("/a=", "/a%3D"), ("/a", "/a/"), ("/%2F", "//")])
@pytest.mark.parametrize("service", ["execute-api", "s3"])
def test_what_aws_tells_apart(service: str, one: str, other: str) -> None:
    """A path is signed as it is on the wire: `=` and `%3D` are two paths."""
    first = signed(url=f"https://{HOST}{one}", service=service)
    assert first != signed(url=f"https://{HOST}{other}", service=service)


def test_the_host_is_the_one_that_is_sent() -> None:
    """It is the URL's as it stands there, port included, unless the caller sends another."""
    plain = signed(url="https://example.com/a")
    assert signed(url="https://other/a", headers=[("HOST", "example.com")]) == plain
    explicit = signed(url="https://other/a", headers=[("Host", "example.com:443")])
    assert signed(url="https://example.com:443/a") == explicit != plain


def test_headers_that_change_on_the_way_are_not_signed() -> None:
    """A proxy may rewrite them."""
    headers = [("User-Agent", "x"), ("Connection", "keep-alive"), ("X-Amzn-Trace-Id", "Root=1")]
    assert signed(headers=headers) == signed()


@pytest.mark.parametrize("name", ["Authorization", "x-amz-date", "X-AMZ-Security-Token"])
def test_a_header_of_the_signer_cannot_be_given(name: str) -> None:
    """It would go out twice; the text names it and not its value."""
    with pytest.raises(ValueError, match=f"header {name.lower()} is made") as caught:
        signed(headers=[(name, "hush")])
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["example.com/a", "", "://example.com", "//example.com"])
def test_a_url_without_a_scheme_is_refused(url: str) -> None:
    """What its host is would be a guess."""
    with pytest.raises(ValueError, match="no scheme"):
        signed(url=url)


def test_no_secret_is_shown() -> None:
    """Neither by `repr` nor by `str`, nor inside of something else."""
    credentials = Credentials("AKID", "the-secret", "the-token")
    for text in (repr(credentials), str(credentials), f"{credentials}", str([credentials])):
        assert "AKID" in text
        assert "the-" not in text


# --- against botocore -----------------------------------------------------------------------------

ODD = "aZ09-._~=%+@:,;!$&'()* \"<>[]{}|^`éß漢\N{GRINNING FACE}"
ESCAPED = "aZ09-._~"
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD")
VALUES = ("x", "  two   words ", "a\tb", "é", "", 'quote"d')


def generated(seed: int) -> dict[str, Any]:
    """Make a request, and who sends it when and to whom, from a seed."""
    choose = random.Random(seed)
    service = choose.choice(["execute-api", "dynamodb", "s3"])
    names = choose.sample(["Content-Type", "X-Amz-Target", "If-Match", "User-Agent", "x-b"], 3)
    return {
        "method": choose.choice(METHODS),
        "url": _url(choose, service),
        "headers": [(name, choose.choice(VALUES)) for name in names[: choose.randint(0, 3)]],
        "body": choose.randbytes(choose.choice([0, 1, 200, 5000])),
        "credentials": Credentials(
            f"AKIA{seed}",
            "".join(choose.choices("aZ09/+", k=40)),
            choose.choice([None, "".join(choose.choices("aZ09/+=", k=choose.randint(1, 900)))]),
        ),
        "service": service,
        "region": choose.choice(["eu-west-1", "us-gov-west-1", "cn-north-1"]),
        "now": choose.randint(1_000_000_000, 4_000_000_000) + choose.random(),
    }


def _url(choose: random.Random, service: str) -> str:
    scheme = choose.choice(["https", "http"])
    host = choose.choice([HOST, "localhost", "127.0.0.1:8000", "[::1]:4566", "a.b:8443"])
    segments = ["".join(choose.choices(ODD, k=choose.randint(1, 12))) for _ in range(3)]
    segments = [
        quote(segment, safe=choose.choice(["", "@=", "@:,;!$'()*+="])) for segment in segments
    ]
    if service == "execute-api":
        ending = choose.choice(["=", "%3D", "%3d"])
        segments[1:] = [
            choose.choice(["@connections", "%40connections"]),
            "L0SM9cOFvHcCIhw" + ending,
        ]
    path = choose.choice(["/", "/".join(["", *segments]), "/".join(["", *segments, ""])])
    query = "&".join(_pair(choose) for _ in range(choose.randint(0, 4)))
    return f"{scheme}://{host}{path}" + (f"?{query}" if query else "")


def _pair(choose: random.Random) -> str:
    """Make a parameter in AWS's own encoding: botocore signs any other as it stands."""
    name = choose.choice(["a", "A", "b", "list-type", "X-é", "prefix"])
    value = "".join(choose.choices(ODD, k=choose.randint(0, 8)))
    return quote(name, safe="") + choose.choice(["", "=" + quote(value, safe="")])


def by_botocore(monkeypatch: pytest.MonkeyPatch, request: dict[str, Any]) -> dict[str, str]:
    """Return the headers that botocore's signer adds to the request."""
    auth = pytest.importorskip("botocore.auth", reason="botocore is not installed")
    aws_request = pytest.importorskip("botocore.awsrequest").AWSRequest
    keys = pytest.importorskip("botocore.credentials").Credentials(*request["credentials"])
    at = datetime.fromtimestamp(request["now"], UTC)
    monkeypatch.setattr(auth, "get_current_datetime", lambda: at)
    signer = auth.S3SigV4Auth if request["service"] == "s3" else auth.SigV4Auth
    outgoing = aws_request(
        method=request["method"],
        url=request["url"],
        headers=dict(request["headers"]),
        data=request["body"],
    )
    signer(keys, request["service"], request["region"]).add_auth(outgoing)
    given = {name.lower() for name, _ in request["headers"]}
    return {name: value for name, value in outgoing.headers.items() if name.lower() not in given}


@pytest.mark.parametrize("first", range(0, 600, 100))
def test_as_botocore_signs(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    """Six hundred requests of all kinds get the headers that botocore gives them, and no others."""
    for seed in range(first, first + 100):
        request = generated(seed)
        assert signed(**request) == by_botocore(monkeypatch, request), f"seed {seed}"


@pytest.mark.parametrize("path", ["/a/../b", "//a//b", "/.", "/a/.", "/a/..", "/a/./b/", "/..//"])
@pytest.mark.parametrize("service", ["execute-api", "dynamodb", "s3"])
def test_dots_and_slashes_as_botocore_has_them(
    monkeypatch: pytest.MonkeyPatch, service: str, path: str
) -> None:
    """S3 takes them as they are; to the others they are steps through a tree."""
    request = generated(0) | {"url": f"https://{HOST}{path}", "service": service}
    assert signed(**request) == by_botocore(monkeypatch, request)


@pytest.mark.parametrize("length", [1, 59, 60, 61, 200])
def test_secrets_of_any_length_as_botocore_takes_them(
    monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """HMAC hashes a key that is longer than its block, of which "AWS4" is a part."""
    credentials = Credentials("AKID", "s" * length)
    request = generated(0) | {"credentials": credentials}
    assert signed(**request) == by_botocore(monkeypatch, request)


def test_the_next_second_is_signed_anew() -> None:
    """What is kept for one second, and for one pair of keys, serves no other."""
    others: list[dict[str, Any]] = [
        {"now": NOW + 1},
        {"credentials": SUITE_EXAMPLE._replace(secret_key="other")},
        {"credentials": SUITE_EXAMPLE._replace(token="token")},
        {"region": "eu-west-2"},
        {"headers": [("X-A", "a")]},
        {"url": "https://other.execute-api.eu-west-1.amazonaws.com/prod/@connections/x"},
    ]
    found = [signed()["Authorization"], *[signed(**other)["Authorization"] for other in others]]
    assert len(set(found)) == len(found)
    assert signed(now=NOW + 0.9)["Authorization"] == found[0]


def test_repeated_headers_as_botocore_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are one line in the order in which they are sent."""
    request = generated(1) | {"headers": [("x-a", "2, 1")]}
    expected = by_botocore(monkeypatch, request)
    auth = pytest.importorskip("botocore.auth", reason="botocore is not installed")
    repeated = pytest.importorskip("botocore.awsrequest").AWSRequest(
        request["method"], request["url"], data=request["body"]
    )
    for value in ("b ", "a"):
        repeated.headers.add_header("X-A", value)
    signer = auth.S3SigV4Auth if request["service"] == "s3" else auth.SigV4Auth
    keys = pytest.importorskip("botocore.credentials").Credentials(*request["credentials"])
    signer(keys, request["service"], request["region"]).add_auth(repeated)
    ours = signed(**request | {"headers": [("X-A", "b "), ("x-a", "a")]})
    assert ours["Authorization"] == repeated.headers["Authorization"]
    assert ours["Authorization"] != expected["Authorization"]


def test_a_body_that_was_signed_before_is_known_by_what_it_is_now() -> None:
    """One object in many requests is hashed once; another one, or the same one changed, anew."""
    first, second = signed(body=b"a"), signed(body=b"b")
    assert first != second
    changing = bytearray(b"a")
    assert [signed(body=changing) for _ in range(2)] == [first, first]  # type: ignore[arg-type]
    changing[:] = b"b"
    assert signed(body=changing) == second  # type: ignore[arg-type]


def test_a_large_body_is_hashed_like_any_other() -> None:
    """What is too large to be kept does not bring the last one's hash."""
    small = signed(body=b"a")
    assert signed(body=b"a" * 200_000) != small
    assert signed(body=b"a") == small
