"""The function in pip's ministack, deployed as to AWS: with boto3, over HTTP."""

from __future__ import annotations

import importlib
import importlib.metadata
import shutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.emulators.emulator import HANDLER, RUNTIME, TIMEOUT, Emulator, bundle
from tests.servers.aws import KEYS
from tests.servers.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REGION = "us-east-1"
STAGE = "prod"


@contextmanager
def ministack(folder: Path) -> Iterator[Emulator]:
    """Run it with a WebSocket API whose three routes go to the function."""
    # It unpacks the function into TMPDIR, and does not tidy up when it is killed.
    environ = {"GATEWAY_PORT": "{port}", "LOG_LEVEL": "ERROR", "TMPDIR": str(folder)}
    server = ServerProcess([sys.executable, "-m", "ministack"], environ)
    try:
        server.start()
        api_id = _deploy(server.url, folder)
        # Its other address has the API's id in the host name, which not every resolver knows.
        place = f"127.0.0.1:{server.port}/_aws/execute-api/{api_id}/{STAGE}"
        version = importlib.metadata.version("ministack")
        yield Emulator("ministack", version, f"ws://{place}", f"http://{place}")
    finally:
        server.close()


def _deploy(endpoint: str, folder: Path) -> str:
    apis, functions = _client("apigatewayv2", endpoint), _client("lambda", endpoint)
    api_id: str = apis.create_api(
        Name="emulated",
        ProtocolType="WEBSOCKET",
        RouteSelectionExpression="$request.body.action",
    )["ApiId"]
    place = f"{endpoint}/_aws/execute-api/{api_id}/{STAGE}"
    code = shutil.make_archive(str(folder / "code"), "zip", bundle(folder / "code"))
    with open(code, "rb") as archive:
        function = functions.create_function(
            FunctionName="emulated",
            Runtime=RUNTIME,
            Handler=HANDLER,
            Role="arn:aws:iam::000000000000:role/emulated",
            Timeout=TIMEOUT,
            Code={"ZipFile": archive.read()},
            Environment={
                "Variables": {
                    "CONNECTIONS_FILE": str(folder / "connections.sqlite3"),
                    "WS_MANAGEMENT_ENDPOINT": place,
                }
            },
        )
    functions.get_waiter("function_active_v2").wait(FunctionName="emulated")
    integration = apis.create_integration(
        ApiId=api_id,
        IntegrationType="AWS_PROXY",
        IntegrationUri=f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/"
        f"{function['FunctionArn']}/invocations",
    )
    for route in ("$connect", "$disconnect", "$default"):
        target = f"integrations/{integration['IntegrationId']}"
        apis.create_route(ApiId=api_id, RouteKey=route, Target=target)
    apis.create_stage(ApiId=api_id, StageName=STAGE, AutoDeploy=True)
    return api_id


def _client(service: str, endpoint: str) -> Any:
    client: Callable[..., Any] = importlib.import_module("boto3").client
    return client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
