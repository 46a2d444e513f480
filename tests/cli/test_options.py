"""What the options mean, and what is said of those that mean nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from longwire.cli import main as cli
from longwire.cli import options
from longwire.local.rules.settings import GatewaySettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["cli_none:app"], "there is no module 'cli_none' in {dir} or on the import path"),
        (
            ["cli_app:handler", "--path", "/ws"],
            "--path: cli_app:handler is a handler, and its own configuration decides; "
            "name an ASGI app or leave the option out",
        ),
        (["cli_app:app", "--params", "{}"], "--params: needs --backend"),
        (
            ["cli_app:app", "--backend", "memory", "--params", "{"],
            "--params: not JSON: Expecting property name enclosed in double quotes: "
            "line 1 column 2 (char 1)",
        ),
        (
            ["cli_app:app", "--backend", "memory", "--params", "[]"],
            '--params: expected a JSON object, for example {"host": "..."}',
        ),
        (
            ["cli_app:app", "--dsn", "dynamo://secret"],
            "dsn has the unknown scheme 'dynamo'; did you mean 'dynamodb'?",
        ),
        (
            ["cli_app:app", "--backend", "redsi"],
            "ws_config['backend'] is 'redsi', which is unknown; did you mean 'redis'?",
        ),
        (
            ["cli_app:app", "--stage", "$default"],
            "stage: '$default' is not a stage name: use letters, digits, - and _",
        ),
    ],
)
def test_mistakes_are_one_line_each(
    directory: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    """Exit code 2, on stderr, without a traceback."""
    assert cli.main(["dev", *arguments, "--app-dir", str(directory)]) == 2
    assert capsys.readouterr().err == f"longwire: {text.replace('{dir}', str(directory))}\n"


def test_a_wrong_variable_is_one_line(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option makes it unimportant."""
    monkeypatch.setenv("LONGWIRE_DSN", "secret")
    assert cli.main(["dev", "cli_app:app", "--app-dir", str(directory)]) == 2
    assert capsys.readouterr().err == (
        "longwire: the environment variable LONGWIRE_DSN: dsn must be a URL, for example "
        "sqlite:///file.sqlite3 (relative) or sqlite:////tmp/file.sqlite3 (absolute)\n"
    )


def test_defaults_of_the_command_line_are_those_of_settings() -> None:
    """Nothing is said twice."""
    assert options.settings_from(cli.make_parser().parse_args(["dev", "a:b"])) == GatewaySettings()


def test_every_option_of_the_gateway_reaches_its_settings() -> None:
    """Routes are added to the three that have a $."""
    parsed = cli.make_parser().parse_args(
        [
            "dev",
            "a:b",
            "--stage",
            "prod",
            "--route",
            "chat",
            "--route",
            "join",
            "--unordered",
            "--lifetime",
            "3",
            "--idle-timeout",
            "2",
            "--integration-timeout",
            "1",
            "--message-rate",
            "0.5",
            "--route-selection-expression",
            "$request.body.kind",
        ]
    )
    assert options.settings_from(parsed) == GatewaySettings(
        stage="prod",
        routes=frozenset({"$connect", "$disconnect", "$default", "chat", "join"}),
        route_selection_expression="$request.body.kind",
        unordered=True,
        lifetime=3,
        idle_timeout=2,
        integration_timeout=1,
        message_rate=0.5,
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--authorizer", "authorize"],
            "--authorizer: 'authorize' is not of the form MODULE:ATTRIBUTE, for example main:app",
        ),
        (
            ["--authorizer", "authorizer_none:f"],
            "--authorizer: there is no module 'authorizer_none' in {dir} or on the import path",
        ),
        (
            ["--authorizer", "authorizer_app:authorise"],
            "--authorizer: module 'authorizer_app' has no attribute 'authorise'; "
            "did you mean 'authorize'?",
        ),
        (
            ["--authorizer", "authorizer_app:config"],
            "--authorizer: authorizer_app:config is of type dict; expected a Lambda function",
        ),
        (
            ["--authorizer", "authorizer_app:app"],
            "--authorizer: authorizer_app:app is not a Lambda function: that takes two arguments, "
            "event and context",
        ),
        (["--identity-source", "route.request.header.A"], "--identity-source: needs --authorizer"),
        (
            ["--authorizer", "authorizer_app:authorize", "--identity-source", "token"],
            "identity_sources: 'token' is not of the form route.request.header.NAME or "
            "route.request.querystring.NAME",
        ),
    ],
)
def test_mistakes_about_the_authorizer_are_one_line_each(
    directory: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    """Exit code 2, on stderr, without a traceback; the line says which module is meant."""
    common = ["dev", "authorizer_app:app", "--app-dir", str(directory)]
    assert cli.main([*common, *arguments]) == 2
    assert capsys.readouterr().err == f"longwire: {text.replace('{dir}', str(directory))}\n"


@pytest.mark.usefixtures("no_keys")
@pytest.mark.parametrize("more", [[], ["--reload"]])
def test_keys_must_be_in_the_environment(
    directory: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    """Exit code 2, and what to set; a supervisor says it before it starts anything."""
    arguments = [
        "dev",
        "signing_app:app",
        "--app-dir",
        str(directory),
        "--verify-signatures",
        *more,
    ]
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err == (
        "longwire: --verify-signatures: set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
        "AWS_REGION (or AWS_DEFAULT_REGION) in the environment; any values will do, since only "
        "the function and this gateway have to agree\n"
    )
