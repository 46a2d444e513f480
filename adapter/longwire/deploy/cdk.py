"""`longwire template cdk`: a construct for AWS CDK in Python, and an app around it.

It is one file, to be read and changed: not a library. Where CDK's grants allow more than is needed,
the statement is written out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from longwire.deploy import plan as said
from longwire.deploy.alarms import PERIOD, alarms
from longwire.deploy.bundle import MACHINES, NOT_OF_APPS, newest_glibc
from longwire.deploy.cdk_parts import METHODS
from longwire.deploy.text import fill

if TYPE_CHECKING:
    from collections.abc import Iterable

    from longwire.deploy.alarms import Alarm
    from longwire.deploy.plan import Plan

# What CloudWatch counts a metric by.
DIMENSIONS = {
    "function": '{"FunctionName": self.function.function_name}',
    "dead_letters": '{"QueueName": self.dead_letters.queue_name}',
    "api": '{"ApiId": self.api.api_id, "Stage": STAGE}',
    "http_api": '{"ApiId": self.http_api.api_id}',
}


def render(plan: Plan) -> dict[str, str]:
    """Return the construct, the app, what `cdk` reads, and what pip installs for it."""
    facts = _facts(plan)
    parts = {"imports": fill(IMPORTS, facts).rstrip("\n"), "methods": fill(METHODS, facts)}
    return {
        "longwire_construct.py": fill(CONSTRUCT, {**facts, **parts}).rstrip("\n") + "\n",
        "cdk_app.py": fill(APP, facts),
        "cdk.json": json.dumps({"app": "python3 cdk_app.py"}, indent=2) + "\n",
        "requirements-cdk.txt": "aws-cdk-lib>=2.180\nconstructs>=10\npip\n",
    }


def _facts(plan: Plan) -> dict[str, object]:
    """Return what fills the blanks."""
    return {
        **{name: getattr(said, name.upper()) for name in CONSTANTS},
        **{
            name: _format(getattr(said, name.upper())) for name in ("access_log", "http_access_log")
        },
        **plan._asdict(),
        **{store: plan.store == store for store in said.STORES},
        **{name: _lines(getattr(said, name.upper())) for name in ACTIONS},
        "code": json.dumps(plan.code),
        "given": "".join(f" \\\n        --parameters {name}=..." for name in plan.parameters),
        "left_out": _lines((*NOT_OF_APPS, "venv", "cdk.json"), 4),
        "glibc": newest_glibc(plan.python),
        "runtime": plan.python.replace(".", "_"),
        "architecture": {"arm64": "ARM_64", "x86_64": "X86_64"}[plan.architecture],
        "machine": MACHINES[plan.architecture],
        "with_replay": "?replay=true" if plan.replay else "",
        "in_vpc": plan.in_vpc,
        "needs_endpoint": plan.needs_endpoint,
        "table_dsn": plan.dsn("{self.connections.table_name}"),
        "bucket_dsn": plan.dsn("{self.connections.bucket_name}"),
        "dsn_pattern": json.dumps(plan.dsn_pattern),
        "identity_source": _lines(plan.identity_source, 24),
        "swept": said.SWEEP_RATE * plan.timeout,
        "visibility_timeout": plan.visibility_timeout,
        "each_alarm": "\n".join(_alarm(alarm) for alarm in alarms(plan)),
        "period": PERIOD,
        "url_path": plan.url_path,
    }


CONSTANTS = (
    *("stage", "bucket_days", "ttl_attribute", "receives", "dead_letter_days", "batch_size"),
    *("queue_concurrency", "sweep_event", "sweep_minutes", "sweep_rate"),
)
ACTIONS = ("table_actions", "object_actions", "bucket_actions", "queue_actions", "network_actions")


def _lines(names: Iterable[str], indent: int = 12) -> str:
    return "\n".join(f"{indent * ' '}{json.dumps(name)}," for name in names)


def _format(line: str) -> str:
    items = "".join(
        f"\n        {json.dumps(k)}: {json.dumps(v)}," for k, v in json.loads(line).items()
    )
    return f"json.dumps(\n    {{{items}\n    }}\n)"


def _alarm(alarm: Alarm) -> str:
    arguments = [
        *(json.dumps(text) for text in (alarm.name, alarm.why, alarm.namespace, alarm.metric)),
        DIMENSIONS[alarm.of],
        json.dumps(alarm.statistic),
        str(alarm.threshold),
    ]
    lines = [f"            {argument}," for argument in arguments]
    return "\n".join(["        self._alarm(", *lines, "        )"])


CONSTRUCT = '''\
"""WebSockets on Lambda, by Longwire: a construct.

It has all that the app needs: the API, the function, the store, and a role that allows no more.
"""

<<imports>>

# The folder of the app, and of its requirements.txt.
CODE = Path(__file__).parent / <<code>>
STAGE = "<<stage>>"


# What is not to be on Lambda. CODE may be the folder of this file, too.
LEFT_OUT = (
<<left_out>>
)


def package() -> tempfile.TemporaryDirectory[str]:
    """Put the code and what it requires together, as Lambda wants it; this needs no container."""
    folder = tempfile.TemporaryDirectory()
    ignore = shutil.ignore_patterns(*LEFT_OUT)
    shutil.copytree(CODE, folder.name, dirs_exist_ok=True, ignore=ignore)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wheels = ["--python-version", "<<python>>", "--implementation", "cp", "--only-binary", ":all:"]
    for minor in range(<<glibc>>, 16, -1):  # of the C library that Lambda has, and older ones
        wheels += ["--platform", f"manylinux_2_{minor}_<<machine>>"]
    wheels += ["--platform", "manylinux2014_<<machine>>"]
    requirements = ["--requirement", str(CODE / "requirements.txt")]
    subprocess.run(
        [*pip, *wheels, "--no-compile", "--target", folder.name, *requirements], check=True
    )
    return folder


class LongwireApp(Construct):
    """The API, its function, and their store."""

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        # All that the function may do is in this role.
        self.role = iam.Role(
            self, "FunctionRole", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com")
        )
        self.logs = logs.LogGroup(
            self,
            "Logs",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self.logs.grant(self.role, "logs:CreateLogStream", "logs:PutLogEvents")
        dsn = self._store()
        self.folder = package()  # which is deleted when this program ends
        self.code = lambda_.Code.from_asset(self.folder.name)
        self.function = lambda_.Function(
            self,
            "Function",
            code=self.code,
            handler="<<handler>>",
            runtime=lambda_.Runtime.PYTHON_<<runtime>>,
            architecture=lambda_.Architecture.<<architecture>>,
            memory_size=<<memory>>,  # little memory is little CPU
            timeout=cdk.Duration.seconds(<<timeout>>),  # API Gateway itself gives up after 29
            role=self.role,
            environment={"LONGWIRE_DSN": dsn},
            log_group=self.logs,
%if logs
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,  # a record for each event
            system_log_level_v2=lambda_.SystemLogLevel.INFO,  # with what each event is billed
%end
        )
        self._websocket_api()
%if in_vpc
        self._vpc()
%end
%if answers_http
        self._http_api()
%end
%if fanout
        self._fanout()
%end
%if needs_endpoint
        # For events that are about no connection, and so name no API: HTTP, queue, schedule.
        self.function.add_environment("WS_MANAGEMENT_ENDPOINT", self.stage.callback_url)
%end
%if sweep
        self._sweep()
%end
%if alarms
        self._alarms()
%end

<<methods>>
'''

IMPORTS = """\
%if logs
import json
%end
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as apigateway
%if authorizer
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
%end
from aws_cdk import aws_apigatewayv2_integrations as integrations
%if domain
from aws_cdk import aws_certificatemanager as acm
%end
%if alarms
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as cloudwatch_actions
%end
%if dynamodb
from aws_cdk import aws_dynamodb as dynamodb
%end
%if sweep
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
%end
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
%if s3
from aws_cdk import aws_s3 as s3
%end
%if alarms
from aws_cdk import aws_sns as sns
%end
%if fanout
from aws_cdk import aws_sqs as sqs
%end
from constructs import Construct
"""

APP = '''\
r"""The stack. With Python and Node:

    python3 -m pip install -r requirements-cdk.txt
    npx aws-cdk bootstrap   (once for each account and region)
    npx aws-cdk deploy<<given>>

and to take it away again: npx aws-cdk destroy
"""

import aws_cdk as cdk
from longwire_construct import LongwireApp

app = cdk.App()
stack = cdk.Stack(app, "<<name>>")
LongwireApp(stack, "App")
app.synth()
'''
