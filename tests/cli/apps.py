"""Modules that `longwire dev` is given."""

CLI_APP = """
import os

async def app(scope, receive, send):
    if scope["type"] != "websocket":
        raise NotImplementedError
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            print("told", message["code"], flush=True)
            return
        await send({"type": "websocket.send", "text": scope["path"] + " " + message["text"]})

def handler(event, context):
    print("endpoint", os.environ["WS_MANAGEMENT_ENDPOINT"], flush=True)
    return {"statusCode": 200}
"""

AUTHORIZER_APP = """
import json

async def app(scope, receive, send):
    if scope["type"] != "websocket":
        raise NotImplementedError
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        context = scope["aws.event"]["requestContext"]["authorizer"]
        await send({"type": "websocket.send", "text": json.dumps(context)})

def authorize(event, context):
    token = event["queryStringParameters"]["token"]
    if token == "crash-secret":
        raise ValueError("broken")
    if token == "wrong-secret":
        raise Exception("Unauthorized")
    effect = "Deny" if token == "bad-secret" else "Allow"
    statement = {"Effect": effect, "Action": "*", "Resource": event["methodArn"]}
    return {
        "principalId": "ann",
        "policyDocument": {"Statement": statement},
        "context": {"level": 3},
    }

config = {}
"""

SIGNING_APP = """
async def app(scope, receive, send):
    if scope["type"] != "websocket":
        raise NotImplementedError
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": "echo " + message["text"]})
"""
