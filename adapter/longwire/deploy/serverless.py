"""`longwire template serverless`: a serverless.yml for osls, the open fork of Serverless 3.

Its packages are not Python's: the function's zip is that of `longwire bundle`. Its own role would
allow the connections of all APIs of the account, so the role is written out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from longwire.deploy import bundle, cloudformation
from longwire.deploy import plan as said
from longwire.deploy.serverless_parts import OUTPUTS, RESOURCES
from longwire.deploy.text import fill

if TYPE_CHECKING:
    from longwire.deploy.plan import Plan

API_ARN = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${WebsocketsApi}"
# What CloudWatch counts a metric by; the names are those that osls gives.
DIMENSIONS = {
    "function": {"FunctionName": "!Ref AppLambdaFunction"},
    "dead_letters": {"QueueName": "!GetAtt DeadLetters.QueueName"},
    "api": {"ApiId": "!Ref WebsocketsApi", "Stage": said.STAGE},
    "http_api": {"ApiId": "!Ref HttpApi"},
}


def render(plan: Plan) -> dict[str, str]:
    """Return the template."""
    facts = _facts(plan)
    parts = {"resources": fill(RESOURCES, facts), "outputs": fill(OUTPUTS, facts)}
    inside = {name: _indented(text) for name, text in parts.items()}
    return {"serverless.yml": fill(TEMPLATE, {**facts, **inside})}


def _facts(plan: Plan) -> dict[str, object]:
    """Return what fills the blanks."""
    return {
        **cloudformation.facts_of(plan, DIMENSIONS),
        "identity_source": cloudformation.items(plan.identity_source, 14),
        "api_arn": API_ARN,
        "connections_arn": f"{API_ARN}/{said.STAGE}/*/@connections/*",
        "log_group": "AppLogGroup",
        "authorizer_log_group": "AuthorizerLogGroup",
        "zip": bundle.ZIP,
        "bundle": bundle.command(plan),
        "given": _given(plan),
    }


def _given(plan: Plan) -> str:
    """Return the parameters that have to be given at each deployment."""
    names = ["store-secret", "subnet-ids", "security-group-ids"] if plan.in_vpc else []
    names += ["certificate-arn"] if plan.domain else []
    return "".join(f" --param {name}=..." for name in names)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" if line else line for line in text.splitlines())


TEMPLATE = """\
# <<name>> - WebSockets on Lambda, by Longwire
#
# For osls (npm install -g osls), which goes on with Serverless 3. Pack the function, deploy it, and
# see its URL:
#
#   <<bundle>>
#   osls deploy<<given>>
#   osls info --verbose
#
# and take it away again: osls remove

service: <<name>>

provider:
  name: aws
  stage: <<stage>> # of the WebSocket API, too
  region: ${env:AWS_REGION, 'us-east-1'}
  runtime: python<<python>>
  architecture: <<architecture>>
  websocketsApiName: <<name>>
  # osls wants one. With no routes but these it decides nothing: each message goes to $default.
  websocketsApiRouteSelectionExpression: $request.body.action
%if answers_http
  httpApi:
    name: <<name>>-http
%end
  logRetentionInDays: <<log_days>>
%if logs
  logs:
    lambda:
      logFormat: JSON
      applicationLogLevel: INFO # one record for each event
      systemLogLevel: INFO # with what each event is billed
%if answers_http
    httpApi:
      format: '<<http_access_log>>'
%end
%end
%if in_vpc
  # The function runs in these subnets, and must reach from them
  # 1. the store: its security group has to let the function's in;
  # 2. API Gateway, through which it sends to clients, which is on the internet: the subnets need a
  #    route to a NAT gateway. A function has no public address, so that an internet gateway alone
  #    is no way; nor is a VPC endpoint for execute-api, which is for private REST APIs.
  # Give several with commas: --param subnet-ids=subnet-1,subnet-2
  vpc:
    subnetIds: !Split [",", "${param:subnet-ids}"]
    securityGroupIds: !Split [",", "${param:security-group-ids}"]
%end

package:
  artifact: <<zip>>

functions:
  app:
    name: <<name>>
    handler: <<handler>>
    memorySize: <<memory>> # little memory is little CPU
    timeout: <<timeout>> # API Gateway itself gives up after 29 seconds
    role: FunctionRole
    environment:
%if redis
      # The name of a secret of Secrets Manager whose text is the DSN, such as
      # rediss://user:password@host:6379/0<<with_replay>>. CloudFormation reads it when it deploys.
      LONGWIRE_DSN: "{{resolve:secretsmanager:${param:store-secret}}}"
%end
%if postgresql
      # The name of a secret of Secrets Manager whose text is the DSN, such as
      # postgresql://user:password@host:5432/database<<with_replay>>. CloudFormation reads it when
      # it deploys.
      LONGWIRE_DSN: "{{resolve:secretsmanager:${param:store-secret}}}"
%end
%if dynamodb or s3
      LONGWIRE_DSN: !Sub <<dsn>>
%end
%if fanout
      LONGWIRE_FANOUT_QUEUE_URL: !Ref Queue
%end
%if needs_endpoint
      # For events that are about no connection, and so name no API: HTTP, queue, schedule.
      WS_MANAGEMENT_ENDPOINT: !Sub https://${WebsocketsApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/<<stage>>
%end
    # Three routes lead to the one function, without route responses: it posts its replies itself.
    events:
%if authorizer
      - websocket:
          route: $connect
          # Asked before the function, at each $connect that has what identitySource names. Without
          # that the client gets 401, and nobody is asked.
          authorizer:
            name: authorizer
            identitySource:
<<identity_source>>
%else
      - websocket: $connect
%end
      - websocket: $disconnect
      - websocket: $default
%if answers_http
      - httpApi: "*" # all paths and methods
%end
%if fanout
      - sqs:
          arn: !GetAtt Queue.Arn
          batchSize: <<batch_size>> # a part has 1,000 members already
          functionResponseType: ReportBatchItemFailures
          maximumConcurrency: <<queue_concurrency>> # with 512 MB about 2,200 messages a second each
%end
%if sweep
      # Finds connections that are gone though no $disconnect came, and tells the app. It asks about
      # 50 connections a second, and has the function's timeout: with more than <<swept>> of them
      # raise that, or give the event a "rate".
      - schedule:
          rate: rate(<<sweep_minutes>> minutes)
          input: <<sweep_event>>
%end
%if authorizer
  # Decides who may connect. It has the same code, and none of the function's permissions.
  authorizer:
    name: <<name>>-authorizer
    handler: <<authorizer>>
    memorySize: 256
    timeout: 10
    role: AuthorizerRole
%end

resources:
  # Added to what osls makes.
  extensions:
    # This API alone may call the function.
    AppLambdaPermissionWebsockets:
      Properties:
        SourceArn: !Sub <<api_arn>>/<<stage>>/*
%if authorizer
    AuthorizerLambdaPermissionWebsockets:
      Properties:
        SourceArn: !Sub <<api_arn>>/authorizers/*
%end
%if logs
    # One line for each event, as API Gateway sees it. The account needs a role for such logs, once
    # in each region (API Gateway console, Settings, CloudWatch log role ARN). What osls makes of
    # logs.websocket has the messages in it.
    WebsocketsDeploymentStage:
      Properties:
        AccessLogSettings:
          DestinationArn: !GetAtt AccessLogs.Arn
          Format: '<<access_log>>'
%end
<<resources>>
<<outputs>>
"""
