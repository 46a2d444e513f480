"""A measured process that speaks to AWS: through `longwire_aws`, or through boto3.

    python -m benchmarks.client NAME CONNECTIONS_URL DYNAMODB_URL

NAME is longwire, floor or boto3. Orders come in as in `measured.py`: POST sends a frame to a
connection, SIGN only makes its signature, GET reads a record. Over plain HTTP Longwire looks for
keys anew at each post (3 us).
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks.measured import SENT_WITH, time_orders

if TYPE_CHECKING:
    from collections.abc import Callable

    Client = Callable[[str, str], Callable[[str, int], None]]

REGION = "eu-west-1"
URL = f"https://a1b2c3d4e5.execute-api.{REGION}.amazonaws.com/prod/@connections/QWEaVd7IIAMCJsQ%3D"
CONNECTION_ID = "QWEaVd7IIAMCJsQ="
FRAME = SENT_WITH["MESSAGE"]["body"].encode()


def longwire(connections_url: str, dynamodb_url: str) -> Callable[[str, int], None]:
    from longwire.registry.api_gateway import APIGateway
    from longwire_aws.sigv4 import Credentials, sign
    from longwire_backends.dynamodb import DynamoDBBackend

    credentials = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    management = APIGateway(region_name=REGION).management()
    store = DynamoDBBackend("bench", region_name=REGION, endpoint_url=dynamodb_url)
    runner = asyncio.Runner()

    async def post() -> None:
        deadline = time.monotonic() + 5
        await management.post(connections_url, CONNECTION_ID, FRAME, deadline=deadline)

    async def signature() -> None:
        sign(
            "POST",
            URL,
            (),
            FRAME,
            credentials=credentials,
            service="execute-api",
            region=REGION,
            now=time.time(),
        )

    async def get() -> None:
        assert await store.get(CONNECTION_ID)

    async def repeat(what: str, times: int) -> None:
        once = {"POST": post, "SIGN": signature, "GET": get}[what]
        for _ in range(times):
            await once()

    return lambda what, times: runner.run(repeat(what, times))


def floor(connections_url: str, dynamodb_url: str) -> Callable[[str, int], None]:
    from benchmarks.floor.handler import FloorPosts
    from benchmarks.floor.signing import Signer
    from benchmarks.floor.stores import FloorDynamoDB

    posts = FloorPosts(connections_url)
    store = FloorDynamoDB(table_name="bench", endpoint_url=dynamodb_url)
    signer = Signer("execute-api", urlsplit(URL).netloc)
    path = urlsplit(URL).path
    runner = asyncio.Runner()

    async def signature() -> None:
        signer.authorization("POST", path, FRAME)

    async def repeat(what: str, times: int) -> None:
        for _ in range(times):
            match what:
                case "POST":
                    await posts.post(CONNECTION_ID, FRAME)
                case "SIGN":
                    await signature()
                case "GET":
                    assert await store.get(CONNECTION_ID)

    return lambda what, times: runner.run(repeat(what, times))


def boto3(connections_url: str, dynamodb_url: str) -> Callable[[str, int], None]:
    # Not import statements, since it comes without types.
    session = import_module("boto3.session").Session(region_name=REGION)
    auth, awsrequest = import_module("botocore.auth"), import_module("botocore.awsrequest")
    credentials = session.get_credentials()
    management = session.client("apigatewaymanagementapi", endpoint_url=connections_url)
    dynamodb = session.client("dynamodb", endpoint_url=dynamodb_url)

    def post() -> None:
        management.post_to_connection(ConnectionId=CONNECTION_ID, Data=FRAME)

    def signature() -> None:
        request = awsrequest.AWSRequest(method="POST", url=URL, data=FRAME)
        auth.SigV4Auth(credentials, "execute-api", REGION).add_auth(request)

    def get() -> None:
        key = {"pk": {"S": f"connection#{CONNECTION_ID}"}, "sk": {"S": "record"}}
        assert dynamodb.get_item(TableName="bench", Key=key, ConsistentRead=True)["Item"]

    def perform(what: str, times: int) -> None:
        once = {"POST": post, "SIGN": signature, "GET": get}[what]
        for _ in range(times):
            once()

    return perform


if __name__ == "__main__":
    clients: dict[str, Client] = {"longwire": longwire, "floor": floor, "boto3": boto3}
    time_orders(clients[sys.argv[1]](*sys.argv[2:]))
