"""The least that a function can be, beside the least that an internal extension can be.

It asks for the next event as soon as it has got one, in the way of AWS's own examples.
"""

from __future__ import annotations

import http.client
import json
import os
import threading

from benchmarks.functions.trivial import handler as handler

API = "/2020-01-01/extension"
ADDRESS = os.environ["AWS_LAMBDA_RUNTIME_API"]


def register() -> str:
    connection = http.client.HTTPConnection(ADDRESS)
    headers = {"Lambda-Extension-Name": "least"}
    connection.request("POST", f"{API}/register", json.dumps({"events": ["INVOKE"]}), headers)
    response = connection.getresponse()
    response.read()
    return response.headers["Lambda-Extension-Identifier"]


def serve(identifier: str) -> None:
    connection = http.client.HTTPConnection(ADDRESS)
    while True:
        headers = {"Lambda-Extension-Identifier": identifier}
        connection.request("GET", f"{API}/event/next", headers=headers)
        json.loads(connection.getresponse().read())


threading.Thread(target=serve, args=[register()], daemon=True).start()
