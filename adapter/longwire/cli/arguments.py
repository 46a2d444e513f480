"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from longwire.config.sources import LOCAL_FILE

if TYPE_CHECKING:
    import argparse


def add_target(command: argparse._ActionsContainer, **how: Any) -> None:
    """Declare what names an app."""
    command.add_argument(
        "target",
        metavar="MODULE:ATTRIBUTE",
        help="an ASGI app, a Longwire or a Lambda handler; or FILE.py, or a module alone",
        **how,
    )
    command.add_argument(
        "--factory", action="store_true", help="the name is that of a function that makes the app"
    )
    command.add_argument(
        "--env-file",
        type=Path,
        metavar="FILE",
        help="lines of NAME=VALUE for the environment, where those that are there already win",
    )


def add_app_dir(group: argparse._ActionsContainer) -> None:
    """Declare where it is looked for."""
    group.add_argument(
        "--app-dir", type=Path, default=Path(), help="where modules are looked for (%(default)s)"
    )


def add_store(group: argparse._ActionsContainer) -> argparse._MutuallyExclusiveGroup:
    """Declare what names a store; return those of which only one may be given."""
    store = group.add_mutually_exclusive_group()
    store.add_argument("--dsn", metavar="URL", help="where connections are kept, in one URL")
    store.add_argument("--file", help=f"the same, a sqlite3 file ({LOCAL_FILE})")
    store.add_argument("--backend", metavar="NAME", help="the same, as in ws_config")
    group.add_argument("--params", metavar="JSON", help="the parameters of --backend")
    return store


def add_log_level(group: argparse._ActionsContainer) -> None:
    """Declare how much is logged."""
    group.add_argument(
        "--log-level",
        default="warning",
        choices=["debug", "info", "warning", "error"],
        help="how much of Python's logging is shown (%(default)s)",
    )
