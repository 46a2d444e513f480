"""Where AWS services are: what is a URL, and what the environment says."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest

from longwire_aws.endpoints import (
    COMMERCIAL,
    dns_suffix,
    environment_endpoint,
    environment_region,
    is_http_url,
    is_region_name,
    partition_of,
)


def botocores_partitions() -> list[dict[str, Any]]:
    """Return the table that AWS's own library has."""
    text = resources.files("botocore").joinpath("data/partitions.json").read_text()
    partitions: list[dict[str, Any]] = json.loads(text)["partitions"]
    return partitions


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("http://a", True),
        ("HTTPS://a.example:8443/b/c", True),
        ("http://[::1]:1/", True),
        ("http://[::1]", True),
        ("http://[::1", False),
        ("http://[]", False),
        ("http://[::1]x:1", False),
        ("http://[a.example]", False),
        ("http://::1", False),
        ("http://a:0", False),
        ("http://a:65535", True),
        ("http://a:65536", False),
        ("http://a:", False),
        ("http://a:-1", False),
        ("http://a:٣", False),
        ("http://a:b@c:1", False),
        ("http://é", False),
        ("http://a b", False),
        ("http://:1", False),
        ("http://", False),
        ("http", False),
        ("", False),
        ("ftp://a", False),
        ("http://a/é", False),
        ("http://a/ b", False),
        ("http://a/%20$-@~", True),
        ("http://a?b", False),
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


@pytest.mark.parametrize("theirs", botocores_partitions(), ids=lambda theirs: str(theirs["id"]))
def test_each_region_that_botocore_knows_has_the_domains_that_it_knows(
    theirs: dict[str, Any],
) -> None:
    """Also those that are no place, such as aws-cn-global."""
    assert theirs["regions"]
    for region in theirs["regions"]:
        ours = partition_of(region)
        assert dns_suffix(region) == ours.dns_suffix == theirs["outputs"]["dnsSuffix"], region
        assert ours.dual_stack == theirs["outputs"]["dualStackDnsSuffix"], region
        assert ours.name == theirs["id"].replace("aws-us-gov", COMMERCIAL.name)
        place = not region.endswith("-global")
        assert is_region_name(region) is place, region


@pytest.mark.parametrize(
    ("region", "suffix"),
    [
        ("eu-west-1", "amazonaws.com"),
        ("us-gov-west-1", "amazonaws.com"),
        ("cn-north-9", "amazonaws.com.cn"),
        ("eusc-fr-west-1", "amazonaws.eu"),
        ("us-iso-north-1", "c2s.ic.gov"),
        ("us-isob-north-1", "sc2s.sgov.gov"),
        ("eu-isoe-north-1", "cloud.adc-e.uk"),
        ("us-isof-north-1", "csp.hci.ic.gov"),
        ("us-isoz-north-1", "amazonaws.com"),
        ("mars-north-1", "amazonaws.com"),
        ("nowhere", "amazonaws.com"),
        ("", "amazonaws.com"),
    ],
)
def test_a_region_that_nobody_knows_is_where_its_name_says(region: str, suffix: str) -> None:
    """By how a partition's regions begin, else with most others."""
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
