"""All conversations of all frameworks, and which of them are still to come."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

from tests.parity.scripts_of_one import BY_FRAMEWORK

# The modules of `frameworks/`, and the package that each needs. The last two cannot be installed
# beside an emulator that wants an old graphql-core.
MODULES = {
    "plain": "asyncio",
    "starlettes": "starlette",
    "fastapis": "fastapi",
    "litestars": "litestar",
    "quarts": "quart",
    "django_channels": "channels",
    "sanics": "sanic",
    "falcons": "falcon",
    "blacksheeps": "blacksheep",
    "fasthtmls": "fasthtml",
    "strawberries": "strawberry",
    "ariadnes": "ariadne",
}
CONVERSATIONS = {
    f"{module}: {name}": replace(
        script, path=f"/{module}/{name if script.path is None else script.path}"
    )
    for module, package in MODULES.items()
    if find_spec(package)
    for name, script in BY_FRAMEWORK[module].items()
}

# Those that differ still, each with the cause and, where not all differ, the frameworks that do.
_TWICE = "a connect step that goes on may meet a message's run, which sends its frames or ends it"
_CAUSES: dict[str, tuple[str, tuple[str, ...]]] = {}
# A machine that is busy at the wrong moment makes these differ, or be the same; nothing else does.
_SOMETIMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "feed, and spoken to": (_TWICE, ()),
}


def _listed(causes: dict[str, tuple[str, tuple[str, ...]]]) -> dict[str, str]:
    found = {}
    for conversation in CONVERSATIONS:
        module, _, name = conversation.partition(": ")
        cause, modules = causes.get(name, ("", ()))
        if cause and (not modules or module in modules):
            found[conversation] = cause
    return found


TO_COME = _listed(_CAUSES)
SOMETIMES = _listed(_SOMETIMES)
