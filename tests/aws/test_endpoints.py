"""Where AWS services are: what is a URL, and what the environment says."""

from __future__ import annotations

import pytest

from longwire_aws.endpoints import (
    dns_suffix,
    environment_endpoint,
    environment_region,
    is_http_url,
)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("http://a", True),
        ("HTTPS://a.example:8443/b/c", True),
        ("http://[::1]:1/", True),
        ("http://a:0", False),
        ("http://u:p@a", False),
        ("http://a/b?c", False),
        ("http://a/b#c", False),
        ("http://a/\r\nb", False),
        ("//a", False),
    ],
)
def test_a_url_has_a_scheme_a_host_and_a_path(text: str, is_one: bool) -> None:
    """What could not be extended by a path, or not be sent, is none."""
    assert is_http_url(text) is is_one


@pytest.mark.parametrize(
    ("region", "suffix"),
    [
        ("eu-west-1", "amazonaws.com"),
        ("us-gov-west-1", "amazonaws.com"),
        ("cn-north-1", "amazonaws.com.cn"),
        ("cn-northwest-1", "amazonaws.com.cn"),
    ],
)
def test_each_partition_has_its_domain(region: str, suffix: str) -> None:
    """As botocore's table of partitions has them."""
    assert dns_suffix(region) == suffix


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, None),
        ({"AWS_ENDPOINT_URL": ""}, None),
        ({"AWS_ENDPOINT_URL": "http://all:1/"}, "http://all:1"),
        ({"AWS_ENDPOINT_URL_S3": "http://s3:1"}, None),
        (
            {"AWS_ENDPOINT_URL_DYNAMODB": "http://db:1", "AWS_ENDPOINT_URL": "http://all:1"},
            "http://db:1",
        ),
        ({"AWS_ENDPOINT_URL": "http://all:1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "True"}, None),
    ],
)
def test_the_environment_may_have_the_endpoint(environ: dict[str, str], url: str | None) -> None:
    """A service's own variable is stronger than the one for all."""
    assert environment_endpoint("DYNAMODB", environ) == url


def test_an_endpoint_that_is_no_url_is_refused_without_being_shown() -> None:
    """It may have a password in it."""
    with pytest.raises(ValueError, match="AWS_ENDPOINT_URL_S3 is not an http") as caught:
        environment_endpoint("S3", {"AWS_ENDPOINT_URL_S3": "user:password@host"})
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "region"),
    [
        ({}, None),
        ({"AWS_REGION": ""}, None),
        ({"AWS_DEFAULT_REGION": "us-east-2"}, "us-east-2"),
        ({"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-2"}, "us-east-1"),
    ],
)
def test_the_environment_may_have_the_region(environ: dict[str, str], region: str | None) -> None:
    """Lambda sets AWS_REGION."""
    assert environment_region(environ) == region
