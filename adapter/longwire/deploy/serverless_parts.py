"""The resources that osls does not make itself: role, store, queue and the like."""

from __future__ import annotations

from longwire.deploy import cloudformation
from longwire.deploy.cloudformation import AUTHORIZER_ROLE, FUNCTION_ROLE, QUEUES, STORE, TOPIC

RESOURCES = (
    """\
Resources:
"""
    + FUNCTION_ROLE
    + """\
%if authorizer
"""
    + AUTHORIZER_ROLE
    + """\
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
