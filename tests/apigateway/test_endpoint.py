"""Where the management API is, from what is configured and what an event says."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwire import Connections, Longwire, WSGateway, ws_gateway
from longwire.apigateway.endpoint import (
    is_api_host,
    is_given,
    is_plausible,
    management_endpoint,
    signing_region,
)
from longwire.exceptions import ConfigurationError
from tests.connections_server import ConnectionsServer
from tests.lambda_events import LambdaContext, connect_event, message_event

AS_SDK = "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"
OWN_DOMAIN = "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com"
LAMBDA = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-2"}


def endpoint(**changes: Any) -> str:
    given: dict[str, Any] = {
        "api_id": "a1b2c3d4e5",
        "stage": "prod",
        "domain_name": OWN_DOMAIN,
        "explicit": None,
        "region_name": None,
        "environ": {},
    }
    return management_endpoint(**given | changes)


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({}, f"https://{OWN_DOMAIN}/prod"),
        ({"environ": LAMBDA}, f"https://{OWN_DOMAIN}/prod"),
        (
            {"domain_name": "ws.example.com", "environ": LAMBDA},
            "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/prod",
        ),
        (
            {"domain_name": None, "environ": {"AWS_DEFAULT_REGION": "us-east-2"}},
            "https://a1b2c3d4e5.execute-api.us-east-2.amazonaws.com/prod",
        ),
        (
            {"region_name": "ap-south-1", "environ": LAMBDA},
            "https://a1b2c3d4e5.execute-api.ap-south-1.amazonaws.com/prod",
        ),
        (
            {"domain_name": "a1b2c3d4e5.execute-api.cn-north-1.amazonaws.com.cn"},
            "https://a1b2c3d4e5.execute-api.cn-north-1.amazonaws.com.cn/prod",
        ),
        (
            {"region_name": "us-gov-west-1"},
            "https://a1b2c3d4e5.execute-api.us-gov-west-1.amazonaws.com/prod",
        ),
        (
            {
                "domain_name": "a1b2c3d4e5.execute-api.eusc-de-east-1.amazonaws.eu",
                "environ": LAMBDA,
            },
            "https://a1b2c3d4e5.execute-api.eusc-de-east-1.amazonaws.eu/prod",
        ),
        (
            {"domain_name": "a1b2c3d4e5.execute-api.us-isob-east-1.sc2s.sgov.gov"},
            "https://a1b2c3d4e5.execute-api.us-isob-east-1.sc2s.sgov.gov/prod",
        ),
        (
            {"domain_name": "ws.example.com", "environ": {"AWS_REGION": "eusc-de-east-1"}},
            "https://a1b2c3d4e5.execute-api.eusc-de-east-1.amazonaws.eu/prod",
        ),
        (
            {"region_name": "us-iso-west-1"},
            "https://a1b2c3d4e5.execute-api.us-iso-west-1.c2s.ic.gov/prod",
        ),
        (
            {"domain_name": "a1b2c3d4e5.execute-api.mars-north-1.amazonaws.com"},
            "https://a1b2c3d4e5.execute-api.mars-north-1.amazonaws.com/prod",
        ),
        (
            {"domain_name": "x.execute-api.evil.com", "environ": LAMBDA},
            "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/prod",
        ),
        ({"stage": "a b/ü"}, f"https://{OWN_DOMAIN}/a%20b%2F%C3%BC"),
        (
            {"explicit": "https://ws.example.com/chat/", "region_name": "x", "environ": LAMBDA},
            "https://ws.example.com/chat",
        ),
        (
            {"explicit": "https://a/b/@connections", "environ": {}},
            "https://a/b",
        ),
        (
            {"explicit": "https://a", "environ": {"WS_MANAGEMENT_ENDPOINT": "https://b"}},
            "https://a",
        ),
        ({"environ": {"WS_MANAGEMENT_ENDPOINT": ""}}, f"https://{OWN_DOMAIN}/prod"),
        ({"environ": {AS_SDK: "http://c/prod/"}}, "http://c/prod"),
        (
            {"environ": {"WS_MANAGEMENT_ENDPOINT": "https://b", AS_SDK: "http://c"}},
            "https://b",
        ),
        (
            {"environ": {"AWS_ENDPOINT_URL": "http://d"}},  # of services, not of an API
            f"https://{OWN_DOMAIN}/prod",
        ),
        (
            {"environ": {AS_SDK: "http://c", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}},
            f"https://{OWN_DOMAIN}/prod",
        ),
    ],
)
def test_the_endpoint_comes_from_the_first_that_knows(changes: dict[str, Any], url: str) -> None:
    """What is explicit, the environment, the API's own URL; never a custom domain."""
    assert endpoint(**changes) == url


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://localhost:3001/local", "http://localhost:3001/local"),
        ("https://ws.example.com/chat/", "https://ws.example.com/chat"),
        ("ws.example.com/chat", "https://ws.example.com/chat"),
        ("ws.example.com/chat/@connections", "https://ws.example.com/chat"),
        ("http://localhost:3001/local/@connections/", "http://localhost:3001/local"),
        ("localhost", "http://localhost"),
        ("LocalHost:3001/local", "http://LocalHost:3001/local"),
        ("127.0.0.1:3001/local", "http://127.0.0.1:3001/local"),
        ("[::1]:3001/local", "http://[::1]:3001/local"),
        ("localhost.example.com/x", "https://localhost.example.com/x"),
    ],
)
def test_the_environment_may_leave_out_the_scheme(given: str, url: str) -> None:
    """This machine speaks http, everything else https."""
    assert endpoint(environ={"WS_MANAGEMENT_ENDPOINT": given}) == url


def test_what_sdks_read_has_to_be_a_url() -> None:
    with pytest.raises(ConfigurationError, match=f"the environment variable {AS_SDK} is not"):
        endpoint(environ={AS_SDK: "c"})


def test_who_has_an_endpoint_is_no_server() -> None:
    assert is_given({AS_SDK: "http://c"})
    assert is_given({"WS_MANAGEMENT_ENDPOINT": "c"})
    assert not is_given({AS_SDK: "http://c", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"})
    assert not is_given({"AWS_ENDPOINT_URL": "http://d"})


@pytest.mark.parametrize("given", ["ftp://a/b", "https://", "a b", "https://a:99999", "://x"])
def test_a_wrong_environment_is_an_error(given: str) -> None:
    """The text names the variable and shows a good value."""
    with pytest.raises(ConfigurationError) as caught:
        endpoint(environ={"WS_MANAGEMENT_ENDPOINT": given})
    assert str(caught.value) == (
        "the environment variable WS_MANAGEMENT_ENDPOINT is not an http:// or https:// URL; "
        "expected for example https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/prod"
    )


def test_an_unknown_region_is_an_error() -> None:
    """A custom domain outside Lambda says nothing of a region."""
    with pytest.raises(ConfigurationError) as caught:
        endpoint(domain_name="ws.example.com")
    assert str(caught.value) == (
        "the region of the management API is unknown: set ws_config['api_gateway_region_name'] "
        "(or the environment variable AWS_REGION), or the whole URL with "
        "ws_config['api_gateway_endpoint_url']"
    )


def test_a_region_in_the_environment_that_is_none_is_an_error() -> None:
    """It would be a part of the host."""
    with pytest.raises(ConfigurationError, match=r"AWS_REGION .* is not a region"):
        endpoint(domain_name="ws.example.com", environ={"AWS_REGION": "evil.example.com/"})


REGIONS = {
    "eu-west-1": "amazonaws.com",
    "us-gov-west-1": "amazonaws.com",
    "cn-north-1": "amazonaws.com.cn",
    "eusc-de-east-1": "amazonaws.eu",
    "us-iso-east-1": "c2s.ic.gov",
    "us-isob-east-1": "sc2s.sgov.gov",
    "eu-isoe-west-1": "cloud.adc-e.uk",
    "us-isof-south-1": "csp.hci.ic.gov",
}


@pytest.mark.parametrize(("region", "suffix"), REGIONS.items())
def test_each_partition_has_hosts_of_its_own(region: str, suffix: str) -> None:
    """They are the endpoint, they are signed for their region, and parts may name them."""
    domain = f"a1b2c3d4e5.execute-api.{region}.{suffix}"
    url = endpoint(domain_name=domain, environ=LAMBDA)
    assert url == f"https://{domain}/prod"
    assert is_plausible(url)
    assert signing_region(f"{url}/@connections/c%3D", "us-east-1", LAMBDA) == region


# S3's older hosts have hyphens, and a bucket may be called "x.execute-api".
NEARLY_REGIONS = (
    *("s3-us-west-2", "s3-website-us-west-2", "s3-external-1", "s3-fips-us-gov-west-1"),
    *("s3-accelerate", "compute-1", "eu-west-1.elb", "eu-west-1.vpce", "vpce.eu-west-1"),
    *("-eu-west-1", "eu--west-1", "eu-west-1-", "eu-west-\uff11", "\u212au-west-1", "1-west-1"),
)


def _odd_hosts() -> set[str]:
    """Return thousands of hosts that are nearly one of API Gateway's, and none."""
    apis = (
        *("x", "", "-", "x.y", "x@y", "x/y", "x:1", "x\\y"),
        *("x y", "x\n", "ü", "X", "x%2f", "x#", "[x]"),
    )
    services = ("execute-api", "execute-apis", "Execute-api", "execute.api", "s3", "lambda-url", "")
    regions = (
        *REGIONS,
        *("s3", "evil", "eu-west-1.evil", "", "eu-west", "EU-WEST-1", "aws-cn-global"),
    )
    suffixes = (
        *REGIONS.values(),
        *("evil.com", "amazonaws.com.evil.com", "amazonaws.com:443", "amazonaws.com.", "amazonaws"),
        *("amazonaws.com/", "amazonaws.com@evil.com", "amazonaws.com\n", "amazonaws.com?"),
        *("api.aws", "evilamazonaws.com", "amazonaws.com#", "amazonaws.eu.com", ""),
        "c2s.ic.gov.evil.eu",
    )
    joined = {".".join(parts) for parts in itertools.product(apis, services, regions, suffixes)}
    own = {
        f"{api}.execute-api.{region}.{suffix}"
        for api in ("x", "-")
        for region, suffix in REGIONS.items()
    }
    return (joined - own) | {f"x.execute-api.{rest}.amazonaws.com" for rest in NEARLY_REGIONS}


def test_an_odd_host_is_never_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor what a part of a send to many may name, nor where `WSGateway` posts to."""
    for name, value in LAMBDA.items():
        monkeypatch.setenv(name, value)
    context = {"connectionId": "c=", "routeKey": "$default", "apiId": "a1b2c3d4e5", "stage": "prod"}
    odd = _odd_hosts()
    assert len(odd) > 4914
    for host in odd:
        assert not is_api_host(host), host
        assert not is_plausible(f"https://{host}/prod"), host
        url = endpoint(domain_name=host, environ=LAMBDA)
        assert url == "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/prod"
        assert ws_gateway.endpoint({**context, "domainName": host}) == url


@given(
    api_id=st.text(),
    stage=st.text(),
    domain_name=st.none()
    | st.text()
    | st.builds("{}.execute-api.eu-west-1.amazonaws.com{}".format, st.text(), st.text())
    | st.builds("{}.execute-api.eusc-de-east-1.amazonaws.eu{}".format, st.text(), st.text()),
)
def test_no_event_leads_a_signed_request_to_another_host_than_awss(
    api_id: str, stage: str, domain_name: str | None
) -> None:
    """Whatever an event claims: what it says is a label of the host, or a part of the path."""
    try:
        api_id.encode(), stage.encode()
    except UnicodeEncodeError:
        return  # `events.parse` refuses it
    url = management_endpoint(
        api_id=api_id,
        stage=stage,
        domain_name=domain_name,
        explicit=None,
        region_name=None,
        environ={"AWS_REGION": "eu-west-1"},
    )
    # Only AWS has names with this at their end.
    suffix = r"(amazonaws\.(com(\.cn)?|eu)|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk)"
    host = rf"[^/@:?#\\\s]*\.execute-api\.[a-z0-9-]+\.{suffix}"
    assert re.fullmatch(rf"https://{host}/[^/@?#\\\s]*", url)
    assert re.fullmatch(host, urlsplit(url).netloc)


@pytest.mark.anyio
@pytest.mark.parametrize("tail", ["/@connections", "/@connections/", "/"])
async def test_a_url_as_consoles_show_it_works_wherever_one_is_given(
    tail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS's console and `longwire dev` show where the connections are."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.send", "text": "setting"})
        await receive()

    async with ConnectionsServer() as server:
        url = server.url + tail
        settings: Any = {"backend": "memory", "api_gateway_endpoint_url": url}
        handler = Longwire(app, ws_config=settings, lifespan="off")
        await handler.handle(connect_event("c="), LambdaContext())
        await handler.handle(message_event("x", "c="), LambdaContext())
        await Connections(api_gateway_endpoint_url=url).send("c=", "argument")
        swept = await handler.sweep(min_age=0, endpoint_url=url)
        assert swept.ok
        await handler.aclose()
        monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", url)
        await Connections().send("c=", "variable")
        context = {"connectionId": "c=", "domainName": "http.example.com", "stage": "live"}
        assert await asyncio.to_thread(WSGateway.send, "context", context)
        assert [body for _, body in server.delivered] == [
            *(b"setting", b"argument", b"variable", b"context")
        ]
        assert all(target.startswith("/local/@connections/c") for target in server.targets)
