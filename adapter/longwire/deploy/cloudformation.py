"""CloudFormation that SAM's template and serverless.yml share: what neither tool makes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longwire.deploy import plan as said
from longwire.deploy.alarms import PERIOD, alarms
from longwire.deploy.text import fill

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from longwire.deploy.alarms import Alarm
    from longwire.deploy.plan import Plan

CONSTANTS = (
    *("stage", "access_log", "http_access_log", "log_days", "ttl_attribute", "bucket_days"),
    *("receives", "dead_letter_days", "batch_size", "queue_concurrency"),
    *("sweep_event", "sweep_minutes", "sweep_rate"),
)
ACTIONS = ("table_actions", "object_actions", "bucket_actions", "queue_actions", "network_actions")


def facts_of(plan: Plan, dimensions: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
    """Return what fills the blanks of both; `dimensions` is what CloudWatch counts a metric by."""
    return {
        **{name: getattr(said, name.upper()) for name in CONSTANTS},
        **plan._asdict(),
        **{store: plan.store == store for store in said.STORES},
        **{name: items(getattr(said, name.upper()), 18) for name in ACTIONS},
        "in_vpc": plan.in_vpc,
        "needs_endpoint": plan.needs_endpoint,
        "dsn": plan.dsn("${Connections}"),
        "with_replay": "?replay=true" if plan.replay else "",
        "swept": said.SWEEP_RATE * plan.timeout,
        "visibility_timeout": plan.visibility_timeout,
        "dead_letter_seconds": said.DEAD_LETTER_DAYS * 24 * 3600,
        "each_alarm": "\n".join(_alarm(alarm, dimensions[alarm.of]) for alarm in alarms(plan)),
        "kind": "table" if plan.store == "dynamodb" else "bucket",
        "url_path": plan.url_path,
    }


def items(names: Iterable[str], indent: int) -> str:
    """Return a list in YAML, so many columns to the right."""
    return "\n".join(f"{indent * ' '}- {name}" for name in names)


def _alarm(alarm: Alarm, dimensions: Mapping[str, str]) -> str:
    lines = "".join(
        f"\n        - Name: {name}\n          Value: {value}" for name, value in dimensions.items()
    )
    facts = {**alarm._asdict(), "namespace": alarm.namespace, "period": PERIOD}
    return fill(ALARM, {**facts, "dimensions": lines}).rstrip("\n")


# Of a role.
ASSUMED = """\
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Principal:
              Service: lambda.amazonaws.com
            Action: sts:AssumeRole
"""

# Of the function's role: its store, its queue, its network.
STATEMENTS = """\
%if dynamodb
              - Effect: Allow
                Action:
<<table_actions>>
                Resource: !GetAtt Connections.Arn
%end
%if s3
              - Effect: Allow
                Action:
<<object_actions>>
                Resource: !Sub ${Connections.Arn}/*
              - Effect: Allow
                Action:
<<bucket_actions>>
                Resource: !GetAtt Connections.Arn
%end
%if fanout
              - Effect: Allow
                Action:
<<queue_actions>>
                Resource: !GetAtt Queue.Arn
%end
%if in_vpc
              # Lambda puts the function into the subnets in its name; these know no resources.
              - Effect: Allow
                Action:
<<network_actions>>
                Resource: "*"
%end
"""

# Their log groups are those that the tool makes.
FUNCTION_ROLE = (
    """\
  # All that the function may do.
  FunctionRole:
    Type: AWS::IAM::Role
    Properties:
"""
    + ASSUMED
    + """\
      Policies:
        - PolicyName: function
          PolicyDocument:
            Version: "2012-10-17"
            Statement:
              # Post to clients, ask for them and close them: those of this API and stage.
              - Effect: Allow
                Action: execute-api:ManageConnections
                Resource: !Sub <<connections_arn>>
              - Effect: Allow
                Action:
                  - logs:CreateLogStream
                  - logs:PutLogEvents
                Resource: !GetAtt <<log_group>>.Arn
"""
    + STATEMENTS
)
AUTHORIZER_ROLE = (
    """\
  AuthorizerRole:
    Type: AWS::IAM::Role
    Properties:
"""
    + ASSUMED
    + """\
      Policies:
        - PolicyName: authorizer
          PolicyDocument:
            Version: "2012-10-17"
            Statement:
              - Effect: Allow
                Action:
                  - logs:CreateLogStream
                  - logs:PutLogEvents
                Resource: !GetAtt <<authorizer_log_group>>.Arn
"""
)

STORE = """\
%if dynamodb

  # Where connections are kept: each for `ttl` seconds at most, two hours and ten minutes.
  Connections:
    Type: AWS::DynamoDB::Table
    Properties:
%if resource
      TableName: <<resource>> # as the code says
%end
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions:
        - AttributeName: pk
          AttributeType: S
        - AttributeName: sk
          AttributeType: S
      KeySchema:
        - AttributeName: pk
          KeyType: HASH
        - AttributeName: sk
          KeyType: RANGE
      TimeToLiveSpecification:
        AttributeName: <<ttl_attribute>>
        Enabled: true
%end
%if s3

  # Where connections are kept: each for `ttl` seconds at most, two hours and ten minutes. What is
  # left behind is deleted after <<bucket_days>> days. The stack cannot be deleted before the bucket
  # is empty.
  Connections:
    Type: AWS::S3::Bucket
    Properties:
%if resource
      BucketName: <<resource>> # as the code says
%end
      PublicAccessBlockConfiguration:
        BlockPublicAcls: true
        BlockPublicPolicy: true
        IgnorePublicAcls: true
        RestrictPublicBuckets: true
      LifecycleConfiguration:
        Rules:
          - Id: expired
            Status: Enabled
            ExpirationInDays: <<bucket_days>>
%end
"""

# Without the `%end` of its block, as SAM has more of it.
QUEUES = """\
%if fanout

  # Sends to more than 1,000 members go to this queue in parts, and from there to the function, in
  # as many processes as its maximum concurrency allows. Keep it private: who can write to it can
  # speak to clients.
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      SqsManagedSseEnabled: true
      VisibilityTimeout: <<visibility_timeout>> # six times the function's timeout
      RedrivePolicy:
        deadLetterTargetArn: !GetAtt DeadLetters.Arn
        maxReceiveCount: <<receives>>
  # Parts that failed each time.
  DeadLetters:
    Type: AWS::SQS::Queue
    Properties:
      SqsManagedSseEnabled: true
      MessageRetentionPeriod: <<dead_letter_seconds>> # <<dead_letter_days>> days
"""

TOPIC = """\
%if alarms

  # Alarms go to this topic: subscribe to it, as in
  #   aws sns subscribe --protocol email --notification-endpoint YOU --topic-arn (output AlarmTopic)
  Alarms:
    Type: AWS::SNS::Topic
<<each_alarm>>
%end
"""

ALARM = """\
  <<name>>Alarm:
    Type: AWS::CloudWatch::Alarm
    Properties:
      AlarmDescription: "<<why>>"
      Namespace: <<namespace>>
      MetricName: <<metric>>
      Dimensions:<<dimensions>>
      Statistic: <<statistic>>
      Period: <<period>>
      EvaluationPeriods: 1
      ComparisonOperator: GreaterThanOrEqualToThreshold
      Threshold: <<threshold>>
      TreatMissingData: notBreaching
      AlarmActions: [!Ref Alarms]
"""

OUTPUTS = """\
%if dynamodb or s3
  Store:
    Description: The <<kind>> of connections
    Value: !Ref Connections
%end
%if fanout
  DeadLetterUrl:
    Description: The queue of parts that could not be sent
    Value: !Ref DeadLetters
%end
%if alarms
  AlarmTopic:
    Description: The topic that alarms go to
    Value: !Ref Alarms
%end
"""
