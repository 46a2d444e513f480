"""Events that a function answers without Longwire, in processes under AWS's own runtime.

Lambda gives their environments no other event, and bills them, until the extension has let go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from longwire.local.rules.errors import FunctionRaisedError
from tests.runtime.test_after_response import GREETER, TAIL, connect, posts, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

# What the extension falls back on is out of the way.
PATIENT = "from longwire.runtime import extension\nextension.ENTRY_LIMIT = 60.0\n"
LONGWIRE = TAIL.replace("handler = make()", "longwire = make()") + PATIENT

FUNCTIONS = {
    "a router": """
def handler(event, context):
    return {"statusCode": 404} if "path" in event else longwire(event, context)
""",
    "a warmer": """
def handler(event, context):
    if event.get("source") == "serverless-plugin-warmup":
        time.sleep(0.05)
        return "warm"
    return longwire(event, context)
""",
    "an SQS branch": """
def handler(event, context):
    if "Records" in event:
        note(*[record["body"] for record in event["Records"]])
        return {"batchItemFailures": []}
    return longwire(event, context)
""",
    "a wrapper that raises": """
def handler(event, context):
    if "requestContext" not in event:
        raise PermissionError("not for you")
    return longwire(event, context)
""",
}
EVENTS: dict[str, Any] = {
    "a router": {"path": "/"},
    "a warmer": {"source": "serverless-plugin-warmup"},
    "an SQS branch": {"Records": [{"body": "noted"}]},
    "a wrapper that raises": {},
}


@pytest.mark.parametrize("who", FUNCTIONS)
async def test_an_event_that_longwire_never_sees_is_let_go_at_once(
    tmp_path: Path, who: str
) -> None:
    """The next one is served, long before any limit; and its greeting follows its response."""
    async with running(tmp_path, GREETER, LONGWIRE + FUNCTIONS[who], timeout=20.0) as (
        process,
        server,
    ):
        for number in range(50):
            if who == "a wrapper that raises":
                with pytest.raises(FunctionRaisedError, match="PermissionError: not for you"):
                    await process.invoke(EVENTS[who])
            else:
                assert await process.invoke(EVENTS[who])
            connection_id = f"Connection{number:05}="
            assert await connect(process, server, connection_id) == {"statusCode": 200}
        await process.until_idle()
        for number in range(50):
            assert posts(server, f"Connection{number:05}=") == ["hello", "I am a greeting"]
        assert max(report.duration for report in process.reports) < 10_000


async def test_a_wrapper_that_takes_its_time_is_waited_for(tmp_path: Path) -> None:
    """The runtime does not wait for its next event meanwhile."""
    slow = (
        "def handler(event, context):\n    time.sleep(0.3)\n    return longwire(event, context)\n"
    )
    async with running(tmp_path, GREETER, LONGWIRE + slow) as (process, server):
        await connect(process, server, "Connection=")
        await process.until_idle()
        assert posts(server, "Connection=") == ["hello", "I am a greeting"]


async def test_under_another_runtime_there_is_a_limit(tmp_path: Path) -> None:
    """One in which nothing is seen, such as one that is not `awslambdaric`."""
    other = (
        LONGWIRE.replace("60.0", "0.3") + "import sys\ndel sys.modules['awslambdaric.bootstrap']\n"
    )
    async with running(tmp_path, GREETER, other + FUNCTIONS["a router"]) as (process, server):
        await process.invoke(EVENTS["a router"])
        await connect(process, server, "Connection=")
        await process.until_idle()
        assert 300 < process.reports[0].duration < 5000
        assert posts(server, "Connection=") == ["hello", "I am a greeting"]
