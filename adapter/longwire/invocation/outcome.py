"""What the ways in which an app can end mean, and what the log says about them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from longwire.asgi import noise
from longwire.asgi.messages import is_disconnect, is_named

if TYPE_CHECKING:
    from longwire.asgi.quiescence import Outcome
    from longwire.asgi.run import Run
    from longwire.observability.event import Ending, Word

logger: logging.Logger = logging.getLogger("longwire")


def handshake_status(run: Run, outcome: Outcome, connection_id: str) -> int:
    """Return the status that answers $connect: 200 when the app has accepted."""
    if run.answer.accepted:
        return 200
    status = run.answer.status or _raised_status(run.error)
    if run.hints is not None:
        _tell_of_close(run, connection_id, "refused", str(status))
    if status is not None:
        return _refusal(status, connection_id)
    where = f"connection {connection_id}: the app"
    if outcome == "deadline":
        logger.error("%s has not accepted by the deadline; it waits in %s", where, run.cut_off)
        return 504
    if outcome == "parked":
        logger.error("%s waits for a message before it has accepted; refused", where)
    elif run.error is None:
        logger.error("%s returned before it had accepted; refused", where)
    else:
        logger.error("%s raised before it had accepted; refused", where, exc_info=run.error)
    return 500


def log_ending(run: Run, outcome: Outcome, connection_id: str) -> None:
    """Log how a run ended, where its author should know."""
    if run.hints is not None:
        _tell_of_close(run, connection_id, "closed", "1000")
    error = run.error
    if run.hang is not None and error is None:
        logger.error("connection %s: the app went on after this: %s", connection_id, run.hang)
    if error is not None and not is_disconnect(error):
        logger.error("connection %s: the app raised", connection_id, exc_info=error)
    elif outcome == "deadline":
        logger.error(
            "connection %s: the app was still running at the deadline and was cancelled; "
            "it waited in %s",
            connection_id,
            run.cut_off,
        )
    elif outcome == "cut_off":
        log_cut_off(run, connection_id, "while the app waited for the client")
    elif outcome == "parked" and run.cut_off:
        logger.log(
            noise.level("begun", run.cut_off_at),
            "connection %s: cancelled tasks that this message has begun, as only a later one could "
            "move them, and that is another event (docs/state.md): %s",
            connection_id,
            run.cut_off,
        )


def _tell_of_close(run: Run, connection_id: str, did: str, instead: str) -> None:
    """Log the app's own code and reason, as no client sees them and no status has them."""
    code, reason = run.answer.closed_with or (None, None)
    if code in (None, 1000):
        return
    if isinstance(reason, list):  # FastAPI's validation; without the values, which are the client's
        reason = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in reason)
    logger.warning(
        "connection %s: the app %s with %s%s, but the client gets %s",
        connection_id,
        did,
        code,
        f" ({reason})" if reason else "",
        instead,
    )


def log_cut_off(run: Run, connection_id: str, when: str) -> None:
    """Log the tasks that were cancelled though they might have done something within `linger`."""
    if run.cut_off:
        logger.log(
            noise.level(when, run.cut_off_at),
            "connection %s: cancelled tasks that went on %s "
            "(ws_config['linger'] is how long they may): %s",
            connection_id,
            when,
            run.cut_off,
        )


def note_ending(ending: Ending, run: Run, outcome: Outcome, otherwise: Word | None = None) -> None:
    """Note how a run has ended; `otherwise` is the word for an end without an error."""
    error = run.error
    if error is not None and _is_raised(run, error):
        ending.note("raised", error)
    elif outcome == "deadline":
        ending.note("deadline")
    elif otherwise is not None:
        ending.note(otherwise)
    elif not run.answer.accepted:
        ending.note("refused")
    elif run.disconnect_delivered or (run.unwinding and outcome != "parked"):
        # It unwinds before it is stopped where another event tells the app.
        ending.note("gone")
    elif run.ended:
        ending.note("closed" if run.answer.state == "closed" else "returned")
    else:
        ending.note("accepted" if run.is_handshake else "parked")


def _is_raised(run: Run, error: BaseException) -> bool:
    """Tell whether an error is neither a refusal nor says that the client is gone."""
    refuses = not run.answer.accepted and _raised_status(error) is not None
    return not (refuses or is_disconnect(error))


def _raised_status(error: BaseException | None) -> int | None:
    """Return the status of an HTTPException that no middleware has turned into a response."""
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) and is_named(error, "HTTPException") else None


def _refusal(status: int, connection_id: str) -> int:
    if 300 <= status <= 599:
        return status
    logger.warning(
        "connection %s: refused with status %d, which API Gateway would take for an acceptance; "
        "403 instead",
        connection_id,
        status,
    )
    return 403
