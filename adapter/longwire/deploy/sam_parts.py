"""What stands beside API and function in a SAM template: logs, store, queue and the like."""

from __future__ import annotations

from longwire.deploy.cloudformation import AUTHORIZER_ROLE, QUEUES, STORE, TOPIC

PARTS = (
    """\
  Logs:
    Type: AWS::Logs::LogGroup
    Properties:
      RetentionInDays: <<log_days>>
%if logs

  AccessLogs:
    Type: AWS::Logs::LogGroup
    Properties:
      RetentionInDays: <<log_days>>
%end
"""
    + STORE
    + QUEUES
    + """\
  QueueToFunction:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      EventSourceArn: !GetAtt Queue.Arn
      FunctionName: !Ref Function
      BatchSize: <<batch_size>> # a part has 1,000 members already
      FunctionResponseTypes: [ReportBatchItemFailures]
      ScalingConfig:
        MaximumConcurrency: <<queue_concurrency>> # with 512 MB about 2,200 messages a second each
%end
%if authorizer

  # Decides who may connect. It has the same code, and none of the function's permissions.
  Authorizer:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: <<code>>
      Handler: <<authorizer>>
      Runtime: python<<python>>
      Architectures: [<<architecture>>]
      MemorySize: 256
      Timeout: 10
      Role: !GetAtt AuthorizerRole.Arn
      LoggingConfig:
        LogGroup: !Ref Logs
%if logs
        LogFormat: JSON
        ApplicationLogLevel: INFO
        SystemLogLevel: INFO # with what each event is billed
%end
"""
    + AUTHORIZER_ROLE
    + """\
%end
"""
    + TOPIC
)
