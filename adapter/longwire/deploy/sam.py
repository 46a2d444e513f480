"""`longwire template sam`: a template for AWS SAM, whose `AWS::Serverless::WebSocketApi` it uses.

The role is written out, where SAM would attach policies of AWS's that allow more than is needed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from longwire.deploy import cloudformation
from longwire.deploy import plan as said
from longwire.deploy.cloudformation import FUNCTION_ROLE, OUTPUTS
from longwire.deploy.sam_parts import PARTS
from longwire.deploy.text import fill

if TYPE_CHECKING:
    from longwire.deploy.plan import Plan

# What CloudWatch counts a metric by.
DIMENSIONS = {
    "function": {"FunctionName": "!Ref Function"},
    "dead_letters": {"QueueName": "!GetAtt DeadLetters.QueueName"},
    "api": {"ApiId": "!Ref Api", "Stage": said.STAGE},
    "http_api": {"ApiId": "!Ref HttpApi"},
}


CONNECTIONS_ARN = (
    "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}"
    f"/{said.STAGE}/*/@connections/*"
)


def render(plan: Plan) -> dict[str, str]:
    """Return the template."""
    facts = _facts(plan)
    parts = fill(PARTS, facts).rstrip("\n")
    return {"template.yaml": fill(TEMPLATE, {**facts, "parts": parts})}


def _facts(plan: Plan) -> dict[str, object]:
    """Return what fills the blanks."""
    parameters = plan.parameters
    return {
        **cloudformation.facts_of(plan, DIMENSIONS),
        "code": json.dumps(plan.code),
        "connections_arn": CONNECTIONS_ARN,
        "log_group": "Logs",
        "authorizer_log_group": "Logs",
        "given": f" --parameter-overrides {'=... '.join(parameters)}=..." if parameters else "",
        "parameters": bool(parameters),
        "dsn_pattern": plan.dsn_pattern,
        "identity_source": cloudformation.items(plan.identity_source, 10),
    }


TEMPLATE = (
    """\
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Description: <<name>> - WebSockets on Lambda, by Longwire

# Build it, deploy it, and see its URL:
#
#   sam build
#   sam deploy --stack-name <<name>> --resolve-s3 --capabilities CAPABILITY_IAM<<given>>
#   sam list stack-outputs --stack-name <<name>> --output json
#
# and take it away again: sam delete --stack-name <<name>>
%if parameters

Parameters:
%end
%if in_vpc
  StoreDsn:
    Type: String
    NoEcho: true
    AllowedPattern: '<<dsn_pattern>>'
%if redis
    Description: Where connections are kept, as rediss://user:password@host:6379/0<<with_replay>>
    ConstraintDescription: rediss://user:password@host:6379/0<<with_replay>>, say
%else
    Description: Where connections are kept, as postgresql://user:password@host:5432/database<<with_replay>>
    ConstraintDescription: postgresql://user:password@host:5432/database<<with_replay>>, say
%end
  # The function runs in these subnets, and must reach from them
  # 1. the store: its security group has to let the function's in;
  # 2. API Gateway, through which it sends to clients, which is on the internet: the subnets need a
  #    route to a NAT gateway. A function has no public address, so that an internet gateway alone
  #    is no way; nor is a VPC endpoint for execute-api, which is for private REST APIs.
  #    (Without NAT: IPv6. Give the subnets an egress-only internet gateway, add
  #    Ipv6AllowedForDualStack: true to VpcConfig, and IpAddressType: dualstack to Api.)
  SubnetIds:
    Type: List<AWS::EC2::Subnet::Id>
    Description: Subnets with a route to the store, and to a NAT gateway
  SecurityGroupIds:
    Type: List<AWS::EC2::SecurityGroup::Id>
    Description: Of the function; the store must let them in, and they must let out to the internet
%end
%if domain
  CertificateArn:
    Type: String
    AllowedPattern: '^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]+:certificate/.+$'
    Description: The certificate of <<domain>>, in AWS Certificate Manager, in this region
%end

Resources:
  # The WebSocket API. Its three routes lead to the one function, and have no route responses: the
  # function posts its replies itself.
  Api:
    Type: AWS::Serverless::WebSocketApi
    Properties:
      Name: !Ref AWS::StackName
      StageName: <<stage>>
      # SAM wants one. With no routes but these it decides nothing: each message goes to $default.
      RouteSelectionExpression: $request.body.action
      Routes:
        $connect:
          FunctionArn: !GetAtt Function.Arn
        $disconnect:
          FunctionArn: !GetAtt Function.Arn
        $default:
          FunctionArn: !GetAtt Function.Arn
%if authorizer
      # Asked before the function, at each $connect that has what IdentitySource names. Without that
      # the client gets 401, and nobody is asked.
      Auth:
        AuthType: CUSTOM
        AuthArn: !GetAtt Authorizer.Arn
        IdentitySource:
<<identity_source>>
%end
%if domain
      # Once the stack is there, point <<domain>> to what its output DomainTarget says, in your DNS.
      Domain:
        DomainName: <<domain>>
        CertificateArn: !Ref CertificateArn
        SecurityPolicy: TLS_1_2
%end
%if logs
      # One line for each event, as API Gateway sees it. The account needs a role for such logs,
      # once in each region (API Gateway console, Settings, CloudWatch log role ARN).
      AccessLogSettings:
        DestinationArn: !GetAtt AccessLogs.Arn
        Format: '<<access_log>>'
%end

%if answers_http
  # The app's HTTP routes, by the same function.
  HttpApi:
    Type: AWS::Serverless::HttpApi
    Properties:
      Name: !Sub ${AWS::StackName}-http
%if logs
      AccessLogSettings:
        DestinationArn: !GetAtt AccessLogs.Arn
        Format: '<<http_access_log>>'
%end

%end
  Function:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: <<code>>
      Handler: <<handler>>
      Runtime: python<<python>>
      Architectures: [<<architecture>>]
      MemorySize: <<memory>> # little memory is little CPU
      Timeout: <<timeout>> # API Gateway itself gives up after 29 seconds
      Role: !GetAtt FunctionRole.Arn
      Environment:
        Variables:
%if in_vpc
          LONGWIRE_DSN: !Ref StoreDsn
%else
          LONGWIRE_DSN: !Sub <<dsn>>
%end
%if fanout
          LONGWIRE_FANOUT_QUEUE_URL: !Ref Queue
%end
%if needs_endpoint
          # For events that are about no connection, and so name no API: HTTP, queue, schedule.
          WS_MANAGEMENT_ENDPOINT: !Sub https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}/<<stage>>
%end
      LoggingConfig:
        LogGroup: !Ref Logs
%if logs
        LogFormat: JSON
        ApplicationLogLevel: INFO # one record for each event
        SystemLogLevel: INFO # with what each event is billed
%end
%if in_vpc
      VpcConfig:
        SubnetIds: !Ref SubnetIds
        SecurityGroupIds: !Ref SecurityGroupIds
%end
%if answers_http or sweep
      Events:
%end
%if answers_http
        Http: # all paths and methods
          Type: HttpApi
          Properties:
            ApiId: !Ref HttpApi
%end
%if sweep
        # Finds connections that are gone though no $disconnect came, and tells the app. It asks
        # about <<sweep_rate>> connections a second, and has the function's Timeout: with more than
        # <<swept>> connections raise that, or give the event a "rate", as in "rate": 200.
        Sweep:
          Type: Schedule
          Properties:
            Schedule: rate(<<sweep_minutes>> minutes)
            Input: '<<sweep_event>>'
%end

"""
    + FUNCTION_ROLE
    + """\

<<parts>>

Outputs:
  WebSocketUrl:
    Description: For clients. What follows path= is the path that the app sees
%if domain
    Value: wss://<<domain>>/?path=<<url_path>>
%else
    Value: !Sub wss://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}/<<stage>>?path=<<url_path>>
%end
%if domain
  DomainTarget:
    Description: Where the DNS record of <<domain>> must lead (CNAME, or an alias in Route 53)
    Value: !GetAtt Api.DomainName.RegionalDomainName
%end
%if answers_http
  HttpUrl:
    Description: The app's HTTP routes
    Value: !Sub https://${HttpApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/
%end
"""
    + OUTPUTS
)
