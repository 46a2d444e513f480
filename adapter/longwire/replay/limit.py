"""How long a conversation may become with `replay`, whose journal is repeated as a whole."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longwire.replay.journal import Conversation, Told

logger: logging.Logger = logging.getLogger("longwire")

# Characters of a journal.
MOST_SIZE = 1024 * 1024
# The part of the limits at which the app's author is warned.
WARN_AT = 0.8


def is_full(conversation: Conversation, told: Told, limit: int) -> bool:
    """Tell whether there is no room for a message; there always is for an end."""
    if told.is_end:
        return False
    size = conversation.size + told.size
    return len(conversation.messages) + 1 > limit or size > MOST_SIZE


def log_full(connection_id: str, limit: int) -> None:
    logger.error("connection %s: closed: its journal is full: %s", connection_id, _named(limit))


def warn_if_near(connection_id: str, conversation: Conversation, limit: int) -> None:
    """Warn with the message that is begun with, if it is the one that comes near a limit."""
    if conversation.begun == math.ceil(WARN_AT * limit) or _comes_near_the_size(conversation):
        logger.warning(
            "connection %s: its journal will soon be full, and the connection be closed then: %s",
            connection_id,
            _named(limit),
        )


def _comes_near_the_size(conversation: Conversation) -> bool:
    most = WARN_AT * MOST_SIZE
    if conversation.size < most:
        return False
    return conversation.size - conversation.messages[conversation.begun - 1].size < most


def _named(limit: int) -> str:
    return (
        f"it may have {limit} messages (ws_config['replay_limit']) and {MOST_SIZE} characters "
        "(docs/state.md)"
    )
