"""The methods of the construct that `cdk.py` writes: all that stands beside the function."""

from __future__ import annotations

METHODS = '''\
    def _store(self) -> str:
        """Make what keeps connections, for `ttl` seconds at most; return its LONGWIRE_DSN."""
%if dynamodb
        self.connections = dynamodb.Table(
            self,
            "Connections",
%if resource
            table_name="<<resource>>",  # as the code says
%end
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            time_to_live_attribute="<<ttl_attribute>>",
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self.connections.grant(
            self.role,
<<table_actions>>
        )
        return f"<<table_dsn>>"
%end
%if s3
        # What is left behind is deleted in the end. The stack cannot be deleted before the bucket
        # is empty.
        self.connections = s3.Bucket(
            self,
            "Connections",
%if resource
            bucket_name="<<resource>>",  # as the code says
%end
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            lifecycle_rules=[s3.LifecycleRule(expiration=cdk.Duration.days(<<bucket_days>>))],
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self._allow(
            self.connections.arn_for_objects("*"),
<<object_actions>>
        )
        self._allow(
            self.connections.bucket_arn,
<<bucket_actions>>
        )
        return f"<<bucket_dsn>>"
%end
%if in_vpc
        given = cdk.CfnParameter(
            self,
            "StoreDsn",
            no_echo=True,
            allowed_pattern=<<dsn_pattern>>,
%if redis
            description="As rediss://user:password@host:6379/0<<with_replay>>",
%else
            description="As postgresql://user:password@host:5432/database<<with_replay>>",
%end
        )
        given.override_logical_id("StoreDsn")
        return given.value_as_string
%end

%if in_vpc
    def _vpc(self) -> None:
        """Have the function run in subnets from which it can reach

        1. the store: its security group has to let the function's in;
        2. API Gateway, through which it sends to clients, which is on the internet: the subnets
           need a route to a NAT gateway. A function has no public address, so that an internet
           gateway alone is no way; nor is a VPC endpoint for execute-api, which is for private
           REST APIs. (Without NAT: IPv6. Give the subnets an egress-only internet gateway, add
           ipv6_allowed_for_dual_stack here, and ip_address_type=DUAL_STACK to the API.)
        """
        subnets = cdk.CfnParameter(self, "SubnetIds", type="List<AWS::EC2::Subnet::Id>")
        groups = cdk.CfnParameter(
            self, "SecurityGroupIds", type="List<AWS::EC2::SecurityGroup::Id>"
        )
        subnets.override_logical_id("SubnetIds")
        groups.override_logical_id("SecurityGroupIds")
        function = self.function.node.default_child
        function.vpc_config = lambda_.CfnFunction.VpcConfigProperty(
            subnet_ids=subnets.value_as_list, security_group_ids=groups.value_as_list
        )
        # Lambda puts it there in its name; these know no resources.
        self._allow(
            "*",
<<network_actions>>
        )

%end
%if s3 or fanout or in_vpc
    def _allow(self, resource: str, *actions: str) -> None:
        self.role.add_to_policy(iam.PolicyStatement(actions=list(actions), resources=[resource]))

%end
    def _websocket_api(self) -> None:
        """Make the API. Its three routes lead to the one function, and have no route responses.

        The function posts its replies itself.
        """

        def to_function(id: str) -> integrations.WebSocketLambdaIntegration:
            return integrations.WebSocketLambdaIntegration(id, self.function)

%if authorizer
        # Asked before the function, at each $connect that has what identity_source names. Without
        # that the client gets 401, and nobody is asked. It may do nothing but log.
        role = iam.Role(
            self, "AuthorizerRole", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com")
        )
        self.logs.grant(role, "logs:CreateLogStream", "logs:PutLogEvents")
        self.authorizer = lambda_.Function(
            self,
            "Authorizer",
            code=self.code,
            handler="<<authorizer>>",
            runtime=lambda_.Runtime.PYTHON_<<runtime>>,
            architecture=lambda_.Architecture.<<architecture>>,
            memory_size=256,
            timeout=cdk.Duration.seconds(10),
            role=role,
            log_group=self.logs,
%if logs
            logging_format=lambda_.LoggingFormat.JSON,
%end
        )
%end
        self.api = apigateway.WebSocketApi(
            self,
            "Api",
            connect_route_options=apigateway.WebSocketRouteOptions(
                integration=to_function("Connect"),
%if authorizer
                authorizer=authorizers.WebSocketLambdaAuthorizer(
                    "ConnectAuthorizer",
                    self.authorizer,
                    identity_source=[
<<identity_source>>
                    ],
                ),
%end
            ),
            disconnect_route_options=apigateway.WebSocketRouteOptions(
                integration=to_function("Disconnect")
            ),
            default_route_options=apigateway.WebSocketRouteOptions(
                integration=to_function("Messages")
            ),
        )
%if domain
        # Once the stack is there, point the domain to what the output DomainTarget says.
        arn = cdk.CfnParameter(
            self,
            "CertificateArn",
            allowed_pattern="^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]+:certificate/.+$",
            description="The certificate of <<domain>>, in ACM, in this region",
        )
        arn.override_logical_id("CertificateArn")
        domain = apigateway.DomainName(
            self,
            "Domain",
            domain_name="<<domain>>",
            certificate=acm.Certificate.from_certificate_arn(
                self, "Certificate", arn.value_as_string
            ),
        )
        output = cdk.CfnOutput(self, "DomainTarget", value=domain.regional_domain_name)
        output.override_logical_id("DomainTarget")
%end
        self.stage = apigateway.WebSocketStage(
            self,
            "Stage",
            web_socket_api=self.api,
            stage_name=STAGE,
            auto_deploy=True,
%if domain
            domain_mapping=apigateway.DomainMappingOptions(domain_name=domain),
%end
        )
        # Post to clients, ask for them and close them: those of this API and stage.
        self.stage.grant_management_api_access(self.role)
%if logs
        # One line for each event, as API Gateway sees it. The account needs a role for such logs,
        # once in each region (API Gateway console, Settings, CloudWatch log role ARN).
        self.access_logs = logs.LogGroup(
            self,
            "AccessLogs",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        stage = self.stage.node.default_child
        stage.access_log_settings = apigateway.CfnStage.AccessLogSettingsProperty(
            destination_arn=self.access_logs.log_group_arn, format=ACCESS_LOG
        )
%end
%if domain
        url = "wss://<<domain>>/?path=<<url_path>>"
%else
        url = f"{self.stage.url}?path=<<url_path>>"
%end
        # For clients. What follows path= is the path that the app sees.
        cdk.CfnOutput(self, "WebSocketUrl", value=url).override_logical_id("WebSocketUrl")
%if answers_http

    def _http_api(self) -> None:
        """Have the same function answer the app's HTTP routes."""
        self.http_api = apigateway.HttpApi(
            self,
            "HttpApi",
            default_integration=integrations.HttpLambdaIntegration("Http", self.function),
        )
%if logs
        stage = self.http_api.default_stage.node.default_child
        stage.access_log_settings = apigateway.CfnStage.AccessLogSettingsProperty(
            destination_arn=self.access_logs.log_group_arn, format=HTTP_ACCESS_LOG
        )
%end
        output = cdk.CfnOutput(self, "HttpUrl", value=self.http_api.url)
        output.override_logical_id("HttpUrl")
%end
%if fanout

    def _fanout(self) -> None:
        """Make a queue for sends to more than 1,000 members, which the function takes parts from.

        Keep it private: who can write to it can speak to clients.
        """
        self.dead_letters = sqs.Queue(  # parts that failed each time
            self,
            "DeadLetters",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            retention_period=cdk.Duration.days(<<dead_letter_days>>),
        )
        queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            # Six times the function's timeout.
            visibility_timeout=cdk.Duration.seconds(<<visibility_timeout>>),
            dead_letter_queue=sqs.DeadLetterQueue(
                max_receive_count=<<receives>>,
                queue=self.dead_letters,
            ),
        )
        self._allow(
            queue.queue_arn,
<<queue_actions>>
        )
        source = self.function.add_event_source_mapping(
            "QueueToFunction",
            event_source_arn=queue.queue_arn,
            batch_size=<<batch_size>>,  # a part has 1,000 members already
            report_batch_item_failures=True,
            max_concurrency=<<queue_concurrency>>,  # with 512 MB about 2,200 messages a second each
        )
        source.node.add_dependency(self.role)
        self.function.add_environment("LONGWIRE_FANOUT_QUEUE_URL", queue.queue_url)
        output = cdk.CfnOutput(self, "DeadLetterUrl", value=self.dead_letters.queue_url)
        output.override_logical_id("DeadLetterUrl")
%end
%if sweep

    def _sweep(self) -> None:
        """Find connections that are gone though no $disconnect came, and tell the app.

        It asks about <<sweep_rate>> connections a second, and has the function's timeout: with more
        than <<swept>> connections raise that, or give the event a "rate", as in "rate": 200.
        """
        event = events.RuleTargetInput.from_object(<<sweep_event>>)
        events.Rule(
            self,
            "Sweep",
            schedule=events.Schedule.rate(cdk.Duration.minutes(<<sweep_minutes>>)),
            targets=[targets.LambdaFunction(self.function, event=event)],
        )
%end
%if alarms

    def _alarms(self) -> None:
        """Make a topic that alarms go to, and the alarms. Subscribe to it, as in

        aws sns subscribe --protocol email --notification-endpoint YOU --topic-arn (AlarmTopic)
        """
        self.topic = sns.Topic(self, "Alarms")
        output = cdk.CfnOutput(self, "AlarmTopic", value=self.topic.topic_arn)
        output.override_logical_id("AlarmTopic")
<<each_alarm>>

    def _alarm(
        self,
        name: str,
        why: str,
        namespace: str,
        metric: str,
        dimensions: dict[str, str],
        statistic: str,
        threshold: int,
    ) -> None:
        counted = cloudwatch.Metric(
            namespace=namespace,
            metric_name=metric,
            dimensions_map=dimensions,
            statistic=statistic,
            period=cdk.Duration.seconds(<<period>>),
        )
        alarm = cloudwatch.Alarm(
            self,
            f"{name}Alarm",
            alarm_description=why,
            metric=counted,
            threshold=threshold,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(cloudwatch_actions.SnsAction(self.topic))
%end
%if logs


ACCESS_LOG = <<access_log>>
%if answers_http
HTTP_ACCESS_LOG = <<http_access_log>>
%end
%end
'''
