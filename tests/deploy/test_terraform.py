"""`longwire template terraform`: formatted as Terraform does, and what its provider knows."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from longwire.cli.main import make_parser
from longwire.deploy import plan as said
from longwire.deploy import terraform
from tests.deploy import plans
from tests.deploy.tools import ROOT, lacking

if TYPE_CHECKING:
    from longwire.deploy.plan import Plan

PROVIDER = ROOT / ".venv-terraform" / "bin" / "python"


def _text(plan: Plan) -> str:
    (text,) = terraform.render(plan).values()
    return text


def _written(folder: Path, which: dict[str, Plan]) -> list[str]:
    for name, plan in which.items():
        (folder / f"{name}.tf").write_text(_text(plan), encoding="utf-8")
    return [str(folder / f"{name}.tf") for name in which]


def _provider(*files: str) -> list[str]:
    """Return what the provider's types say of files."""
    if not PROVIDER.exists():
        lacking("cdktn-provider-aws", "`make deploy-test` installs it")
    done = subprocess.run(
        [str(PROVIDER), str(ROOT / "tests" / "deploy" / "provider.py"), *files],
        capture_output=True,
        text=True,
    )
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


def test_it_is_formatted_as_terraform_does(tmp_path: Path) -> None:
    """Whatever the options."""
    command = shutil.which("terraform") or lacking("terraform", "it is not on the PATH")
    files = _written(tmp_path, plans.every() | plans.few())
    assert len(files) > 256
    done = subprocess.run(
        [command, "fmt", "-check", "-diff", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[:4000]


def test_the_provider_knows_each_argument_and_reference(tmp_path: Path) -> None:
    which = plans.few()
    assert _provider(*_written(tmp_path, which)) == []


@pytest.mark.parametrize(
    ("right", "wrong", "found"),
    [
        ("billing_mode", "biling_mode", "there is no argument biling_mode"),
        ('  type = "S"\n', "", "attribute: type is missing"),
        ("ttl {", "ttl = {", "ttl is a block"),
        ("aws_sqs_queue.parts.url", "aws_sqs_queue.parts.uri", "aws_sqs_queue has no uri"),
        ("aws_sns_topic.alarms", "aws_sns_topic.alarm", "there is no aws_sns_topic.alarm"),
        ("var.bundle", "var.zip", "there is no variable zip"),
        ('"aws_sns_topic"', '"aws_sns_topics"', "the provider has no such resource"),
    ],
)
def test_a_mistake_would_be_found(tmp_path: Path, right: str, wrong: str, found: str) -> None:
    text = _text(plans.few()["dynamodb-all"])
    assert right in text
    (tmp_path / "main.tf").write_text(text.replace(right, wrong))
    assert any(line.endswith(found) for line in _provider(str(tmp_path / "main.tf")))


def test_it_grants_what_the_plan_says() -> None:
    """Each action once, and none that is not used."""
    for plan in plans.every().values():
        _check_grants(plan, _text(plan))


def _check_grants(plan: Plan, text: str) -> None:
    role = text[text.index('"aws_iam_role_policy" "function"') :].partition("\n}\n")[0]
    granted = re.findall(r'"((?:dynamodb|s3|sqs|ec2|logs|execute-api):\w+)"', role)
    wanted = ["execute-api:ManageConnections", "logs:CreateLogStream", "logs:PutLogEvents"]
    wanted += {
        "dynamodb": said.TABLE_ACTIONS,
        "s3": (*said.OBJECT_ACTIONS, *said.BUCKET_ACTIONS),
    }.get(plan.store, ())
    wanted += said.QUEUE_ACTIONS if plan.fanout else ()
    wanted += said.NETWORK_ACTIONS if plan.in_vpc else ()
    assert sorted(granted) == sorted(wanted)
    assert role.count('Resource = "*"') == plan.in_vpc
    assert role.count("*/@connections/*") == 1


def test_its_parts_are_those_that_were_asked_for() -> None:
    """Alone, and with all else."""
    least, most = _text(plans.few()["dynamodb"]), _text(plans.few()["dynamodb-all"])
    for kind in (
        *("aws_sqs_queue", "aws_cloudwatch_event_rule", "aws_apigatewayv2_domain_name"),
        *("aws_apigatewayv2_authorizer", "aws_cloudwatch_metric_alarm", "aws_sns_topic"),
        *("access_log_settings", "LONGWIRE_FANOUT_QUEUE_URL", "WS_MANAGEMENT_ENDPOINT"),
    ):
        assert kind not in least
        assert kind in most
    assert 'attribute_name = "expires_at"' in least
    assert '"LONGWIRE_DSN"' not in least
    assert 'LONGWIRE_DSN = "dynamodb://${aws_dynamodb_table.connections.name}"' in least
    assert "?replay=true" in most
    assert "visibility_timeout_seconds = 180" in most
    assert '["ReportBatchItemFailures"]' in most
    assert 'input = jsonencode({ longwire = "sweep" })' in most


@pytest.mark.parametrize(("name", "plan"), plans.few().items())
def test_a_reader_sees_how_to_begin_and_nothing_left_blank(name: str, plan: Plan) -> None:
    text = _text(plan)
    made = f"--into function.zip --python {plan.python} --arch {plan.architecture}"
    (line,) = re.findall(r"#   (longwire bundle .*)", text)
    assert line.endswith(f" {made}")
    said = make_parser().parse_args(shlex.split(line)[1:])
    assert said.target.replace(":", ".") == plan.handler
    assert "<<" not in text
    assert "%if" not in text
    assert max(map(len, text.splitlines())) <= 140


def test_the_zip_is_made_where_the_template_is() -> None:
    """Of an app that may be elsewhere."""
    for code, place in ((".", "."), ("../my app", "../my app")):
        text = _text(plans.few()["dynamodb"]._replace(code=code))
        (line,) = re.findall(r"#   (longwire bundle .*)", text)
        assert make_parser().parse_args(shlex.split(line)[1:]).app_dir == Path(place)


def test_a_name_fits_where_it_has_to() -> None:
    """A prefix of a role has 38 characters, of a bucket 37 in small letters."""
    plan = plans.few()["s3-all"]._replace(name=f"A{39 * 'b'}")
    prefixes = re.findall(r'name_prefix += "(.*)"', _text(plan))
    assert len(prefixes) == 2
    assert max(map(len, prefixes)) <= 38
    (bucket,) = re.findall(r'bucket_prefix += "(.*)"', _text(plan))
    assert bucket == bucket.lower()
    assert len(bucket) <= 37
