"""ministack, and what is deployed to it, as boto3 sees it."""

from __future__ import annotations

import importlib
import json
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from tests.deploy.tools import QUIET, REGION, tool
from tests.servers.aws import KEYS
from tests.servers.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Emulator:
    """A running ministack."""

    url: str

    @property
    def environ(self) -> dict[str, str]:
        """What has a tool of AWS's talk to it."""
        return {**QUIET, "AWS_ENDPOINT_URL": self.url}

    def client(self, service: str) -> Any:
        """Return boto3's client of a service."""
        make: Callable[..., Any] = importlib.import_module("boto3").client
        return make(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )


@dataclass(frozen=True)
class Stack:
    """A stack that is deployed there."""

    emulator: Emulator
    name: str

    def of_type(self, kind: str) -> list[str]:
        """Return the physical ids of its resources of a type."""
        client = self.emulator.client("cloudformation")
        pages = client.get_paginator("list_stack_resources").paginate(StackName=self.name)
        found = [one for page in pages for one in page["StackResourceSummaries"]]
        return [one["PhysicalResourceId"] for one in found if one["ResourceType"] == kind]

    @property
    def function(self) -> str:
        """Return the name of its function, the only one."""
        (name,) = self.of_type("AWS::Lambda::Function")
        return name

    def api(self, protocol: str) -> tuple[str, str]:
        """Return the id and the stage of its API of a protocol, WEBSOCKET or HTTP."""
        client = self.emulator.client("apigatewayv2")
        for api_id in self.of_type("AWS::ApiGatewayV2::Api"):
            if client.get_api(ApiId=api_id)["ProtocolType"] == protocol:
                return api_id, client.get_stages(ApiId=api_id)["Items"][0]["StageName"]
        raise LookupError(f"{self.name} has no API for {protocol}")

    @property
    def management_url(self) -> str:
        """Where the emulator has this stack's `@connections`; also clients connect there."""
        api_id, stage = self.api("WEBSOCKET")
        return f"{self.emulator.url}/_aws/execute-api/{api_id}/{stage}"

    def at(self, path: str, **query: str) -> str:
        """Return the URL at which a client reaches the app's path."""
        url = self.management_url.replace("http://", "ws://")
        return f"{url}/?{urlencode({'path': path, **query})}"

    def post(self, path: str, **query: str) -> urllib.request.Request:
        """Return a request to an HTTP route of the app."""
        api_id, _ = self.api("HTTP")
        url = f"{self.emulator.url}{path}?{urlencode(query)}"
        host = f"{api_id}.execute-api.localhost:{urlsplit(url).port}"
        return urllib.request.Request(url, method="POST", headers={"Host": host})

    def environ(self) -> dict[str, str]:
        """Return the variables of its function."""
        client = self.emulator.client("lambda")
        configuration = client.get_function_configuration(FunctionName=self.function)
        variables: dict[str, str] = configuration["Environment"]["Variables"]
        return variables

    def complete(self) -> None:
        """Make what the template says and the emulator leaves out."""
        for logical, resource in self._template()["Resources"].items():
            properties = resource.get("Properties", {})
            if "TimeToLiveSpecification" in properties:
                self.emulator.client("dynamodb").update_time_to_live(
                    TableName=self._physical(logical),
                    TimeToLiveSpecification=properties["TimeToLiveSpecification"],
                )
            if "paths" in properties.get("Body", {}):
                self._make_routes(self._physical(logical), properties["Body"]["paths"])

    def turn_to_the_emulator(self) -> None:
        """Have the function post to the emulator: the template names AWS's own address."""
        turned = {**self.environ(), "WS_MANAGEMENT_ENDPOINT": self.management_url}
        self.emulator.client("lambda").update_function_configuration(
            FunctionName=self.function, Environment={"Variables": turned}
        )

    def _make_routes(self, api_id: str, paths: dict[str, Any]) -> None:
        """Make the HTTP routes that SAM describes by OpenAPI."""
        apis = self.emulator.client("apigatewayv2")
        for operation in (one for methods in paths.values() for one in methods.values()):
            assert operation["isDefaultRoute"]
            described = operation["x-amazon-apigateway-integration"]
            integration = apis.create_integration(
                ApiId=api_id,
                IntegrationType=described["type"].upper(),
                IntegrationUri=self._function_arn(),
                PayloadFormatVersion=described["payloadFormatVersion"],
            )
            target = f"integrations/{integration['IntegrationId']}"
            apis.create_route(ApiId=api_id, RouteKey="$default", Target=target)

    def _template(self) -> dict[str, Any]:
        client = self.emulator.client("cloudformation")
        found = client.get_template(StackName=self.name, TemplateStage="Processed")["TemplateBody"]
        template: dict[str, Any] = json.loads(found) if isinstance(found, str) else found
        return template

    def _physical(self, logical: str) -> str:
        found = self.emulator.client("cloudformation").describe_stack_resource(
            StackName=self.name, LogicalResourceId=logical
        )
        physical: str = found["StackResourceDetail"]["PhysicalResourceId"]
        return physical

    def _function_arn(self) -> str:
        client = self.emulator.client("lambda")
        found = client.get_function_configuration(FunctionName=self.function)
        arn: str = found["FunctionArn"]
        return arn


@contextmanager
def ministack(folder: Path) -> Iterator[Emulator]:
    """Run it; what it unpacks goes to the folder."""
    environ = {"GATEWAY_PORT": "{port}", "LOG_LEVEL": "ERROR", "TMPDIR": str(folder)}
    server = ServerProcess([tool("python"), "-m", "ministack"], environ)
    try:
        server.start()
        yield Emulator(server.url)
    finally:
        server.close()
