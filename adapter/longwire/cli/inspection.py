"""The inspector of `longwire dev`, tied to what it looks at; or nothing, where it is off."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, Any

from longwire.handler import Longwire
from longwire.local.function.inline import ThreadFunction
from longwire.local.rules.access import is_open_to_others

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Iterator

    from longwire.cli.screen import Screen
    from longwire.local.function.instances import Instances
    from longwire.local.inspector.inspector import Inspector, WatchedFunction
    from longwire.local.inspector.stored import StoredRecords
    from longwire.local.inspector.web import InspectorPage
    from longwire.local.invoking import Function, HandledEvent
    from longwire.local.server.server import LocalGateway
    from longwire.types import LambdaEvent


class Inspection:
    """Without a page: whatever it is given it gives back."""

    page: InspectorPage | None = None
    page_path: str | None = None

    def serve(self, gateway: LocalGateway) -> None:
        """Begin to answer for this gateway."""

    def watching(self, function: ThreadFunction | Instances) -> Function:
        return function

    def asking(self, authorizer: ThreadFunction | None) -> Function | None:
        return authorizer

    def observer(self, show: Callable[[HandledEvent], None]) -> Callable[[HandledEvent], None]:
        return show

    def app_raised(self, note: Callable[[LambdaEvent, str], object]) -> Any:
        return note

    def said(self, note: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
        return note

    def before_end(self, settle: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        return settle

    def of_processes(self) -> dict[str, Any]:
        """Return what `Instances` is to tell besides."""
        return {}

    def name_posts_of(self, target: Any) -> None:
        """Have a handler of this process say with each post what event it is of."""

    def read_store_of(self, target: Any, function: ThreadFunction | Instances) -> None:
        """Read in the store of a handler of this process."""


class _WithPage(Inspection):
    def __init__(self, options: argparse.Namespace, screen: Screen) -> None:
        from longwire.local.inspector.access import PREFIX
        from longwire.local.inspector.inspector import Inspector
        from longwire.local.inspector.stored import StoredRecords
        from longwire.local.inspector.web import InspectorPage, Started

        self.inspector: Inspector = Inspector()
        self._stored: StoredRecords = StoredRecords()
        self._function: WatchedFunction | None = None
        self._instances: Instances | None = None
        started = Started(
            options.target,
            options.instances is not None,
            lambda: (screen.about.routes, screen.about.path, screen.about.path_query),
            lambda: [] if self._instances is None else self._instances.processes,
        )
        # On one port the app's own page is at the root.
        self.page = InspectorPage(
            self.inspector, self._stored, started, at_root=not options.one_port
        )
        self.page_path = f"{PREFIX}/" if options.one_port else "/"

    def serve(self, gateway: LocalGateway) -> None:
        assert self.page is not None
        assert self._function is not None
        self.page.serve(gateway, self._function)

    def watching(self, function: ThreadFunction | Instances) -> Function:
        if not isinstance(function, ThreadFunction):
            self._instances = function
        self._function = self.inspector.watching(function, here=self._instances is None)
        return self._function

    def asking(self, authorizer: ThreadFunction | None) -> Function | None:
        return None if authorizer is None else self.inspector.watching(authorizer)

    def observer(self, show: Callable[[HandledEvent], None]) -> Callable[[HandledEvent], None]:
        def both(handled: HandledEvent) -> None:
            self.inspector.handled(handled)
            show(handled)

        return both

    def app_raised(self, note: Callable[[LambdaEvent, str], object]) -> Any:
        def both(event: LambdaEvent, error: str) -> None:
            note(event, error)
            self.inspector.app_raised_soon(event, error)

        return both

    def said(self, note: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
        def both(what: dict[str, Any]) -> None:
            if "store_settings" in what:
                self._stored.open(what["store_settings"])
                return
            if "raised" in what:
                self.inspector.app_raised(what["request_id"], what["raised"])
            note(what)

        return both

    def before_end(self, settle: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def both() -> None:
            await settle()
            await self._stored.close()

        return both

    def of_processes(self) -> dict[str, Any]:
        return {"on_taken": self.inspector.taken, "on_output": self.inspector.heard}

    def name_posts_of(self, target: Any) -> None:
        if isinstance(target, Longwire):
            from longwire.local.inspector import transport

            named = transport.NamedTransport(target.transport, transport.current.get)
            target.transport = named

    def read_store_of(self, target: Any, function: ThreadFunction | Instances) -> None:
        if not isinstance(function, ThreadFunction):
            return
        if isinstance(target, Longwire):
            self._stored.use(target.backend, function.run)
        else:
            self._stored.use_none("a Lambda function keeps its connections where it likes")


@contextlib.contextmanager
def inspecting(options: argparse.Namespace, screen: Screen) -> Iterator[Inspection]:
    """Look at what `longwire dev` does, unless it is not to or others reach this machine."""
    if not options.inspector or is_open_to_others(options.host):
        yield Inspection()
        return
    from longwire.local.function.output import hear

    looking = _WithPage(options, screen)
    before = sys.stdout, sys.stderr
    hear(looking.inspector.hear_here)
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is before[1]
    ]
    for handler in handlers:
        handler.setStream(sys.stderr)
    try:
        yield looking
    finally:
        sys.stdout, sys.stderr = before
        for handler in handlers:
            handler.stream = before[1]  # `setStream` writes, and an app may have closed it
