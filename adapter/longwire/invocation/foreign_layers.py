"""Channel layers for which a consumer would have to wait between two events, as none does."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from longwire.asgi import noise

if TYPE_CHECKING:
    from collections.abc import Mapping

logger: logging.Logger = logging.getLogger("longwire")

# Where the class of the layer is that runs consumers.
OWN = "longwire.channels"


def warn_of_foreign_layers(layers: Mapping[str, object]) -> None:
    """Say, once each, which layers that consumers have asked for are not ours; by their aliases."""
    for alias, layer in layers.items():
        kind = type(layer)
        if not any(base.__module__ == OWN for base in kind.__mro__):
            logger.log(
                noise.level("foreign layer", [alias]),
                "a consumer waits for the channel layer %r, a %s.%s, but nobody runs it for that "
                'between events: set "BACKEND": "longwire.channels.ChannelLayer" in CHANNEL_LAYERS '
                "(docs/channels.md)",
                *(alias, kind.__module__, kind.__qualname__),
            )
