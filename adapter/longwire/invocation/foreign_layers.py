"""Channel layers for which a consumer would have to wait between two events, as none does."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from longwire.asgi import noise
from longwire.asgi.channel import runs_consumers

if TYPE_CHECKING:
    from collections.abc import Mapping

logger: logging.Logger = logging.getLogger("longwire")


def warn_of_foreign_layers(layers: Mapping[str, object]) -> None:
    """Say, once each, which layers that consumers have asked for are not ours; by their aliases."""
    for alias, layer in layers.items():
        kind = type(layer)
        if not runs_consumers(layer):
            logger.log(
                noise.level("foreign layer", [alias]),
                "a consumer waits for the channel layer %r, a %s.%s, but nobody runs it for that "
                'between events: set "BACKEND": "longwire.channels.ChannelLayer" in CHANNEL_LAYERS '
                "(docs/channels.md)",
                *(alias, kind.__module__, kind.__qualname__),
            )
