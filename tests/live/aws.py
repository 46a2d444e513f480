"""The real world: two stacks in an account, or in an emulator of AWS."""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from longwire.deploy.plan import STAGE
from tests.live.clients import open_client
from tests.live.world import Place, Unavailable, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.live.account import Account
    from tests.live.clients import RealClient
    from tests.live.world import Way

# What stands where in the stack of the extras.
_OF_EXTRAS: dict[str, tuple[str, str]] = {
    "throttled": ("ThrottledApi", "Throttled"),
    "snap": ("SnapApi", "Snap"),
    "managed": ("ManagedApi", "Managed"),
}
_ENDING = "Ending"
_WHY = {
    "snap": "no SnapStart: it needs Python 3.12 or newer, and AWS",
    "managed": "no Managed Instances: give MANAGED_SUBNETS and MANAGED_SECURITY_GROUPS",
}
# The measurements for which an emulator has nothing, and why.
EMULATOR_LACKS = {
    "ending": "the emulator has no Extensions API, and ends processes with SIGKILL",
    "unseen": "the emulator bills nothing",
    "snapstart": "the emulator has no snapshots",
    "managed": "the emulator has no instances",
}


class Stacks:
    """The two stacks, by boto3; it blocks, so `world` has threads do it."""

    def __init__(self, account: Account, name: str) -> None:
        self._account = account
        self._apis: dict[str, str] = {}
        self._functions: dict[str, str] = {}
        main, more = self._resources(name), self._resources(f"{name}-extras")
        self._apis["main"] = self._websocket_api(main)
        self._functions["main"] = next(
            physical for kind, physical in main.values() if kind == "AWS::Lambda::Function"
        )
        for place, (api, function) in _OF_EXTRAS.items():
            if api in more:
                self._apis[place], self._functions[place] = more[api][1], more[function][1]
        self._functions["ending"] = more[_ENDING][1]
        if account.endpoint:
            self._turn_to_the_emulator()

    def url(self, place: Place) -> str:
        """Return where clients connect."""
        if place not in self._apis:
            raise Unavailable(_WHY[place])
        api_id = self._apis[place]
        if endpoint := self._account.endpoint:
            return f"{endpoint.replace('http', 'ws', 1)}/_aws/execute-api/{api_id}/{STAGE}"
        described = self._account.client("apigatewayv2").get_api(ApiId=api_id)
        return f"{described['ApiEndpoint']}/{STAGE}"

    def manage(self, method: str, connection_id: str, body: bytes) -> int:
        """Post to a connection of the main API; return the status."""
        assert method == "POST"
        errors = importlib.import_module("botocore.exceptions")
        url = self.url("main").replace("ws", "http", 1)
        try:
            client = self._account.client("apigatewaymanagementapi", endpoint_url=url)
            answer = client.post_to_connection(ConnectionId=connection_id, Data=body)
        except errors.ClientError as error:
            answer = error.response
        status: int = answer["ResponseMetadata"]["HTTPStatusCode"]
        return status

    def invoke(self, function: str, event: Mapping[str, Any]) -> str:
        """Invoke a function; return the request's id."""
        answer = self._account.client("lambda").invoke(
            FunctionName=self._functions[function], Payload=json.dumps(event).encode()
        )
        if "FunctionError" in answer:
            raise RuntimeError(f"{function}: {answer['Payload'].read()[:300]!r}")
        request_id: str = answer["ResponseMetadata"]["RequestId"]
        return request_id

    def logs(self, function: str, since: float) -> list[str]:
        """Return what a function has logged since then."""
        client, name = self._account.client("logs"), self._functions[function]
        configuration = self._account.client("lambda").get_function_configuration(FunctionName=name)
        group = configuration.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{name}")
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=int(since * 1000)
        )
        try:
            return [event["message"] for page in pages for event in page["events"]]
        except client.exceptions.ResourceNotFoundException:
            return []  # it makes the group with the first line

    def renew(self, function: str) -> None:
        """Change a function's configuration, so that its environments are of no use any more."""
        self._configure(function, {"LIVE_RENEWED": str(time.time())})

    def _turn_to_the_emulator(self) -> None:
        for place, api_id in self._apis.items():
            endpoint = f"{self._account.endpoint}/_aws/execute-api/{api_id}/{STAGE}"
            self._configure(place, {"WS_MANAGEMENT_ENDPOINT": endpoint})

    def _configure(self, function: str, added: Mapping[str, str]) -> None:
        client, name = self._account.client("lambda"), self._functions[function]
        there = client.get_function_configuration(FunctionName=name)
        variables = {**there.get("Environment", {}).get("Variables", {}), **added}
        client.update_function_configuration(
            FunctionName=name, Environment={"Variables": variables}
        )
        client.get_waiter("function_updated_v2").wait(FunctionName=name)

    def _resources(self, name: str) -> dict[str, tuple[str, str]]:
        """Return the types and physical ids of a stack's resources by their logical ids."""
        client = self._account.client("cloudformation")
        pages = client.get_paginator("list_stack_resources").paginate(StackName=name)
        return {
            one["LogicalResourceId"]: (one["ResourceType"], one.get("PhysicalResourceId", ""))
            for page in pages
            for one in page["StackResourceSummaries"]
        }

    def _websocket_api(self, resources: Mapping[str, tuple[str, str]]) -> str:
        apis = self._account.client("apigatewayv2")
        found = (physical for kind, physical in resources.values() if kind.endswith("V2::Api"))
        return next(api for api in found if apis.get_api(ApiId=api)["ProtocolType"] == "WEBSOCKET")


def make_world(stacks: Stacks, *, long: bool) -> World:
    """Return what the measurements may ask."""

    @asynccontextmanager
    async def connect(place: Place, path: str, way: Way) -> AsyncIterator[RealClient]:
        url = await asyncio.to_thread(stacks.url, place)
        async with open_client(url, path, way) as client:
            yield client

    async def manage(method: str, connection_id: str, body: bytes) -> int:
        return await asyncio.to_thread(stacks.manage, method, connection_id, body)

    async def invoke(function: str, event: dict[str, Any]) -> str:
        return await asyncio.to_thread(stacks.invoke, function, event)

    async def logs(function: str, since: float) -> list[str]:
        return await asyncio.to_thread(stacks.logs, function, since)

    async def renew(function: str) -> None:
        await asyncio.to_thread(stacks.renew, function)

    return World(
        connect=connect,
        manage=manage,
        invoke=invoke,
        logs=logs,
        renew=renew,
        now=time.time,
        sleep=asyncio.sleep,
        long=long,
    )
