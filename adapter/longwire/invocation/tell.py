"""Tell the app that its client is gone."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from longwire.invocation.outcome import log_ending, note_ending
from longwire.invocation.replies import ClosedOutbox

if TYPE_CHECKING:
    from longwire.invocation.invocation import Invocation
    from longwire.observability.event import Word
    from longwire.registry.record import ConnectionRecord
    from longwire.types import Message


async def tell(
    invocation: Invocation, record: ConnectionRecord, message: Message, word: Word
) -> None:
    """Tell the app in this event, which has the record; `word` is how the event ends then."""
    if invocation.kept_runs is not None:
        from longwire.invocation import replay  # nobody else pays for it

        return await replay.tell(invocation, record, message, word)
    connection = invocation.connection
    run = invocation.run(record, ClosedOutbox(invocation.connection), "replay", "disconnect")
    run.expect_disconnect(message, sum(record.sent.values()))
    try:
        gone = functools.partial(run.mark_gone, message)
        outcome = await run.until_ready(record.answered, invocation.run_until, gone)
        if outcome is None:
            outcome = await run.until_over(invocation.run_until)
        log_ending(run, outcome, connection.id)
        note_ending(invocation.call.ending, run, outcome, word)
    finally:
        await invocation.stop(run)
