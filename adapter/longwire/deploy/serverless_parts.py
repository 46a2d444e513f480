"""The resources that osls does not make itself: role, store, queue and the like."""

from __future__ import annotations

from longwire.deploy import cloudformation
from longwire.deploy.cloudformation import ASSUMED, QUEUES, STATEMENTS, STORE, TOPIC

RESOURCES = (
    """\
Resources:
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
                Resource: !Sub <<api_arn>>/<<stage>>/*/@connections/*
              - Effect: Allow
                Action:
                  - logs:CreateLogStream
                  - logs:PutLogEvents
                Resource: !GetAtt AppLogGroup.Arn
"""
    + STATEMENTS
    + """\
%if authorizer
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
        - CertificateArn: ${param:certificate-arn}
          EndpointType: REGIONAL
          SecurityPolicy: TLS_1_2
  DomainMapping:
    Type: AWS::ApiGatewayV2::ApiMapping
    Properties:
      ApiId: !Ref WebsocketsApi
      DomainName: !Ref Domain
      Stage: !Ref WebsocketsDeploymentStage
%end
"""
    + STORE
    + QUEUES
    + "%end\n"
    + TOPIC
)


OUTPUTS = (
    """\
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
"""
    + cloudformation.OUTPUTS
)
