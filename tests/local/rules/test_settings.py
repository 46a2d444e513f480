"""What one WebSocket API is set to."""

import pytest

from longwire.exceptions import ConfigurationError
from longwire.local.rules.settings import GatewaySettings


def test_defaults_are_the_quotas_of_aws() -> None:
    """128 KB, 32 KB, 10 minutes, 2 hours and 29 seconds."""
    settings = GatewaySettings()
    assert settings.message_limit == 131072
    assert settings.frame_limit == 32768
    assert settings.idle_timeout == 600
    assert settings.lifetime == 7200
    assert settings.integration_timeout == 29
    assert settings.message_rate is None


@pytest.mark.parametrize("stage", ["$default", "", "a/b", "pröd"])
def test_stage_must_be_a_stage_name(stage: str) -> None:
    """A WebSocket API has no $default stage, and a stage is one segment of a path."""
    with pytest.raises(ConfigurationError, match="is not a stage name: use letters"):
        GatewaySettings(stage=stage)


@pytest.mark.parametrize(
    "name", ["idle_timeout", "lifetime", "integration_timeout", "authorizer_timeout"]
)
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_times_are_above_zero(name: str, value: float) -> None:
    """A time that is over before it begins is a mistake."""
    with pytest.raises(ConfigurationError, match=f"^{name}: expected seconds above 0$"):
        GatewaySettings(**{name: value})  # type: ignore[arg-type]  # the name varies


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_message_rate_is_above_zero(value: float) -> None:
    """With none, no client could say anything."""
    with pytest.raises(ConfigurationError, match=r"^message_rate: expected messages per second"):
        GatewaySettings(message_rate=value)


def test_route_selection_expression_is_checked_at_once() -> None:
    """A wrong expression fails here, not at the first message."""
    with pytest.raises(ConfigurationError, match="route_selection_expression: 'action' is not of"):
        GatewaySettings(route_selection_expression="action")


@pytest.mark.parametrize(
    "source",
    [
        "Authorization",
        "route.request.header.",
        "route.request.body.token",
        "$request.header.Authorization",
        "method.request.header.Authorization",
        "stageVariables.key",
    ],
)
def test_what_is_not_an_identity_source_is_said(source: str) -> None:
    """With the forms that are."""
    with pytest.raises(ConfigurationError) as caught:
        GatewaySettings(identity_sources=[source])
    assert str(caught.value) == (
        f"identity_sources: {source!r} is not of the form route.request.header.NAME or "
        "route.request.querystring.NAME"
    )


def test_one_identity_source_is_a_list_of_one() -> None:
    """A string would be taken for the list of its letters."""
    with pytest.raises(ConfigurationError, match="identity_sources: expected a list of strings"):
        GatewaySettings(identity_sources="route.request.header.Authorization")
