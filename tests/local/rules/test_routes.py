"""Which route a message takes."""

import pytest

from longwire.exceptions import ConfigurationError
from longwire.local.rules.routes import parse_expression, select_route

ROUTES = {"$connect", "$disconnect", "$default", "chat", "1", "true", "1.5", '{"a":1}'}
ACTION = "$request.body.action"


@pytest.mark.parametrize(
    ("expression", "keys"),
    [
        ("$request.body.action", ["action"]),
        ("${request.body.action}", ["action"]),
        ("$request.body.a.b", ["a", "b"]),
        ("${request.body.a.b-c}", ["a", "b-c"]),
    ],
)
def test_expression_has_two_spellings(expression: str, keys: list[str]) -> None:
    """With and without braces, with one key or several."""
    assert parse_expression(expression) == keys


@pytest.mark.parametrize(
    "expression",
    ["", "action", "$request.body", "$request.body.", "$request.header.x", "$request.body.a..b",
     "$request.body.a[0]", "${request.body.a"],
)  # fmt: skip
def test_other_expressions_are_refused(expression: str) -> None:
    """What cannot be evaluated is not taken."""
    with pytest.raises(ConfigurationError, match="is not of the form"):
        parse_expression(expression)


@pytest.mark.parametrize(
    ("body", "route"),
    [
        ('{"action": "chat"}', "chat"),
        ('{"action": "Chat"}', "$default"),
        ('{"action": "other"}', "$default"),
        ('{"action": 1}', "1"),
        ('{"action": 1.5}', "1.5"),
        ('{"action": true}', "true"),
        ('{"action": {"a": 1}}', '{"a":1}'),
        ('{"action": null}', "$default"),
        ('{"action": "$connect"}', "$default"),
        ('{"other": "chat"}', "$default"),
        ('["action"]', "$default"),
        ('"chat"', "$default"),
        ("chat", "$default"),
        ("", "$default"),
        ("[" * 100_000, "$default"),
    ],
)
def test_value_names_the_route(body: str, route: str) -> None:
    """The value as a string must be a route key exactly; all else goes to $default."""
    assert select_route(body, ACTION, ROUTES) == route


def test_nested_value_names_the_route() -> None:
    """Each key leads one level down."""
    assert select_route('{"a": {"b": "chat"}}', "${request.body.a.b}", ROUTES) == "chat"
    assert select_route('{"a": "chat"}', "${request.body.a.b}", ROUTES) == "$default"


def test_no_match_and_no_default_is_no_route() -> None:
    """Then API Gateway answers by itself."""
    assert select_route("x", ACTION, {"$connect", "chat"}) is None
