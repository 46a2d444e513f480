"""The resources that osls does not make itself: role, store, queue and the like."""

from __future__ import annotations

_ASSUMED = """\
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Principal:
              Service: lambda.amazonaws.com
            Action: sts:AssumeRole
"""

RESOURCES = f"""\
Resources:
  # All that the function may do.
  FunctionRole:
    Type: AWS::IAM::Role
    Properties:
{_ASSUMED}      Policies:
        - PolicyName: function
          PolicyDocument:
            Version: "2012-10-17"
            Statement:
              # Post to clients, ask for them and close them: those of this API and stage.
              - Effect: Allow
                Action: execute-api:ManageConnections
                Resource: !Sub <<api_arn>>/<<stage>>/*/@connections/*
              - Effect: Allow
                Action:
                  - logs:CreateLogStream
                  - logs:PutLogEvents
                Resource: !GetAtt AppLogGroup.Arn
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
                Resource: !Sub ${{Connections.Arn}}/*
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
%if authorizer
  AuthorizerRole:
    Type: AWS::IAM::Role
    Properties:
{_ASSUMED}      Policies:
        - PolicyName: authorizer
          PolicyDocument:
            Version: "2012-10-17"
            Statement:
              - Effect: Allow
                Action:
                  - logs:CreateLogStream
                  - logs:PutLogEvents
                Resource: !GetAtt AuthorizerLogGroup.Arn
%end
%if logs

  AccessLogs:
    Type: AWS::Logs::LogGroup
    Properties:
      RetentionInDays: <<log_days>>
%end
%if domain

  # Once the stack is there, point <<domain>> to what the output DomainTarget says, in your DNS.
  Domain:
    Type: AWS::ApiGatewayV2::DomainName
    Properties:
      DomainName: <<domain>>
      DomainNameConfigurations:
        - CertificateArn: ${{param:certificate-arn}}
          EndpointType: REGIONAL
          SecurityPolicy: TLS_1_2
  DomainMapping:
    Type: AWS::ApiGatewayV2::ApiMapping
    Properties:
      ApiId: !Ref WebsocketsApi
      DomainName: !Ref Domain
      Stage: !Ref WebsocketsDeploymentStage
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
  # left behind is deleted after <<bucket_days>> days. The stack cannot be removed before the bucket
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
  # as many processes as maximumConcurrency allows. Keep it private: who can write to it can speak
  # to clients.
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
%end
%if alarms

  # Alarms go to this topic: subscribe to it, as in
  #   aws sns subscribe --protocol email --notification-endpoint YOU --topic-arn (output AlarmTopic)
  Alarms:
    Type: AWS::SNS::Topic
<<each_alarm>>
%end
"""

OUTPUTS = """\
Outputs:
  WebSocketUrl:
    Description: For clients. What follows path= is the path that the app sees
%if domain
    Value: wss://<<domain>>/?path=<<url_path>>
%else
    Value: !Sub wss://${WebsocketsApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/<<stage>>?path=<<url_path>>
%end
%if domain
  DomainTarget:
    Description: Where the DNS record of <<domain>> must lead (CNAME, or an alias in Route 53)
    Value: !GetAtt Domain.RegionalDomainName
%end
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
