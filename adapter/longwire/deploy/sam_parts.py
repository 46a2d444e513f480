"""What stands beside API and function in a SAM template: logs, store, queue and the like."""

from __future__ import annotations

PARTS = """\
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
%if fanout

  # Sends to more than 1,000 members go to this queue in parts, and from there to the function, in
  # as many processes as MaximumConcurrency allows. Keep it private: who can write to it can speak
  # to clients.
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      SqsManagedSseEnabled: true
      VisibilityTimeout: <<visibility_timeout>> # six times the function's Timeout
      RedrivePolicy:
        deadLetterTargetArn: !GetAtt DeadLetters.Arn
        maxReceiveCount: <<receives>>
  # Parts that failed each time.
  DeadLetters:
    Type: AWS::SQS::Queue
    Properties:
      SqsManagedSseEnabled: true
      MessageRetentionPeriod: <<dead_letter_seconds>> # <<dead_letter_days>> days
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
        SystemLogLevel: WARN
%end
  AuthorizerRole:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Principal:
              Service: lambda.amazonaws.com
            Action: sts:AssumeRole
      Policies:
        - PolicyName: authorizer
          PolicyDocument:
            Version: "2012-10-17"
            Statement:
              - Effect: Allow
                Action:
                  - logs:CreateLogStream
                  - logs:PutLogEvents
                Resource: !GetAtt Logs.Arn
%end
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
