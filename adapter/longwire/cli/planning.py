"""From the options of `longwire template` and from what the target is, to a `Plan`."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from longwire.cli import env_file, requirements
from longwire.cli.importer import ImportTargetError, find_target
from longwire.cli.options import authorizer_from, located
from longwire.config import sources
from longwire.deploy.plan import ARCHITECTURES, PYTHONS, STORES, Plan, check
from longwire.exceptions import ConfigurationError
from longwire.handler import Longwire
from longwire.local.function.inline import kind
from longwire.local.routes import has_http_routes, websocket_routes
from longwire.local.rules.settings import parse_identity_source

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from longwire.deploy.plan import Python, Store

# While a target is imported, the store of the environment; no code names a file that is called so.
ELSEWHERE = ".longwire-template.sqlite3"
# The module that is written for an app without a handler.
ENTRIES = ("lambda_function", "lambda_entry", "longwire_entry")


def add(command: argparse.ArgumentParser) -> None:
    """Declare what a stack may have."""
    default = Plan("", "")
    stack = command.add_argument_group("the stack")
    stack.add_argument("--name", help="of the stack (that of the app's folder)")
    stack.add_argument(
        "--store",
        choices=STORES,
        metavar="STORE",
        help=f"where connections are kept: {', '.join(STORES)} ({default.store})",
    )
    stack.add_argument(
        "--authorizer",
        metavar="MODULE:FUNCTION",
        help="a Lambda authorizer, asked before the app",
    )
    stack.add_argument(
        "--identity-source",
        action="append",
        default=[],
        metavar="SOURCE",
        help="what a client must send for it to be asked; may be repeated "
        f"({default.identity_source[0]})",
    )
    stack.add_argument("--fanout", action="store_true", help="a queue for large groups")
    stack.add_argument("--sweep", action="store_true", help="a schedule that finds who is gone")
    stack.add_argument("--domain", metavar="NAME", help="a custom domain, as ws.example.com")
    stack.add_argument("--logs", action="store_true", help="JSON logs and an access log")
    stack.add_argument("--alarms", action="store_true", help="alarms, and a topic that they go to")
    http = stack.add_mutually_exclusive_group()
    http.add_argument(
        "--http",
        action="store_true",
        default=None,
        help="an HTTP API for the same function (if the app has HTTP routes)",
    )
    http.add_argument("--no-http", dest="http", action="store_false", help="none")
    function = command.add_argument_group("the function")
    function.add_argument(
        "--replay",
        action="store_true",
        help="an app's own variables last as long as its connection",
    )
    function.add_argument(
        "--python", choices=PYTHONS, metavar="VERSION", help=f"{', '.join(PYTHONS)} (this one)"
    )
    function.add_argument(
        "--arch",
        choices=ARCHITECTURES,
        default=default.architecture,
        metavar="ARCH",
        help=f"{' or '.join(ARCHITECTURES)} (%(default)s)",
    )
    function.add_argument(
        "--memory", type=int, default=default.memory, metavar="MB", help="(%(default)s)"
    )
    function.add_argument(
        "--timeout", type=int, default=default.timeout, metavar="SECONDS", help="(%(default)s)"
    )


def plan_from(options: argparse.Namespace) -> tuple[Plan, Path]:
    """Return the plan, and the folder of the app.

    Raises:
        ConfigurationError: the options, or what they name, cannot be.
    """
    options = located(options)
    _check_options(options)
    if options.env_file is not None:
        env_file.load(options.env_file, os.environ)
    with _as_on_lambda():
        name, target = find_target(options.target, options.app_dir, factory=options.factory)
        authorizer_from(options)
    _check_place(name, options.app_dir)
    options.target = name
    plan = Plan(
        name=options.name or _stack_name(options.app_dir),
        handler=name.replace(":", "."),
        store=options.store or "dynamodb",
        replay=options.replay,
        authorizer=options.authorizer and options.authorizer.replace(":", "."),
        identity_source=tuple(options.identity_source) or Plan("", "").identity_source,
        fanout=options.fanout,
        sweep=options.sweep,
        domain=options.domain and options.domain.lower(),
        logs=options.logs,
        alarms=options.alarms,
        python=options.python or _this_python(),
        architecture=options.arch,
        memory=options.memory,
        timeout=options.timeout,
        code=_from(options.into, options.app_dir),
    )
    plan = _of_target(plan, target, options)
    app = target.app if isinstance(target, Longwire) else target
    return check(plan._replace(requires=requirements.lines(plan, app))), options.app_dir


def _check_options(options: argparse.Namespace) -> None:
    if options.identity_source and options.authorizer is None:
        raise ConfigurationError("--identity-source: needs --authorizer")
    try:
        for source in options.identity_source:
            parse_identity_source(source)
    except ConfigurationError as error:
        text = str(error).removeprefix("identity_sources")
        raise ConfigurationError(f"--identity-source{text}") from None


def _check_place(target: str, app_dir: Path) -> None:
    """Have the app be in the folder whose content is uploaded, where Lambda imports it from."""
    module = target.partition(":")[0]
    file = getattr(sys.modules[module], "__file__", None)
    if file is None:
        return
    path = Path(file).resolve()
    path = path.parent if path.name == "__init__.py" else path
    folder = path.parents[module.count(".")]
    if folder != app_dir.resolve():
        raise ImportTargetError(
            f"{module} is not in the folder whose code is uploaded, {app_dir.resolve()}: "
            f"add --app-dir {os.path.relpath(folder)}"
        )


@contextlib.contextmanager
def _as_on_lambda() -> Iterator[None]:
    """Let code that names no store find one, and code that names one in AWS a region."""
    there = dict(os.environ)
    for name in (sources.DEV, sources.QUEUE):
        os.environ.pop(name, None)
    os.environ[sources.DSN] = f"sqlite:///{ELSEWHERE}"
    if not (os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
        os.environ["AWS_REGION"] = "us-east-1"
    try:
        # What code prints as it is imported is not of the template.
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        for name in (sources.DEV, sources.QUEUE, sources.DSN, "AWS_REGION"):
            os.environ.pop(name, None)
            os.environ.update({name: there[name]} if name in there else {})


# What the target says


def _of_target(plan: Plan, target: Any, options: argparse.Namespace) -> Plan:
    if isinstance(target, Longwire):
        plan = _of_handler(plan, target, options)
        # Lambda takes a module, and one name in it.
        is_there = not options.factory and "." not in options.target.partition(":")[2]
        return plan if is_there else _with_entry(plan, options, "{}")
    if kind(target) == "lambda":
        if type(target).__module__.startswith("mangum."):
            raise ConfigurationError(
                f"{options.target} is a handler of HTTP events alone: name the app that it is for"
            )
        return plan._replace(answers_http=bool(options.http))
    routes = tuple(websocket_routes(target))
    answers = has_http_routes(target) if options.http is None else options.http
    return _with_entry(plan._replace(answers_http=answers, routes=routes), options, "Longwire({})")


def _of_handler(plan: Plan, handler: Longwire, options: argparse.Namespace) -> Plan:
    settings, name = handler.settings, options.target
    has_http = has_http_routes(handler.app) or handler._http is not None
    plan = plan._replace(
        answers_http=has_http if options.http is None else options.http,
        routes=tuple(websocket_routes(handler.app)) if settings.path_query else (),
    )
    if settings.fanout is not None:
        raise ConfigurationError(
            f"{name} names a queue in its code: leave fanout out there, and --fanout makes a queue "
            "and sets LONGWIRE_FANOUT_QUEUE_URL"
        )
    if settings.params.get("file_path") == ELSEWHERE:
        return plan
    store = settings.backend
    resource = settings.params.get("table_name" if store == "dynamodb" else "bucket")
    if store not in ("dynamodb", "s3") or str(resource).startswith("arn:"):
        raise ConfigurationError(
            f"{name} names a store in its code that no template can make "
            f"({store if isinstance(store, str) else store.name}): write Longwire(app), with "
            "neither dsn nor ws_config, and it finds the stack's in LONGWIRE_DSN"
        )
    for option, given in (
        ("--store", options.store not in (None, store)),
        ("--replay", options.replay and not settings.replay),
        ("--fanout", options.fanout),
    ):
        if given:
            raise ConfigurationError(
                f"{option}: {name} names its store in its code ({store}), and so reads nothing of "
                "what the template says: write Longwire(app), with neither dsn nor ws_config"
            )
    return plan._replace(store=cast("Store", store), resource=str(resource), replay=False)


def _with_entry(plan: Plan, options: argparse.Namespace, how: str) -> Plan:
    """Add the module that has a handler, where what is named is not itself one for Lambda."""
    module, _, attribute = options.target.partition(":")
    imports = [f"from {module} import {attribute.partition('.')[0]}"]
    if "Longwire" in how:
        imports.insert(0, "from longwire import Longwire\n")
    value = how.format(f"{attribute}()" if options.factory else attribute)
    name = next(one for one in ENTRIES if one != module)
    text = "\n".join(['"""What Lambda calls."""\n', *imports, "", f"handler = {value}", ""])
    return plan._replace(handler=f"{name}.handler", entry=(f"{name}.py", text))


def _stack_name(app_dir: Path) -> str:
    """Make a name of the folder's."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", app_dir.resolve().name).strip("-")
    return re.sub(r"^[^A-Za-z]+", "", name)[:40].rstrip("-") or "longwire-app"


def _this_python() -> Python:
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return here if here in PYTHONS else Plan("", "").python


def _from(into: Path | None, app_dir: Path) -> str:
    # What is printed is most likely to be kept in the folder that one is in.
    folder = Path() if into is None else into
    try:
        return os.path.relpath(app_dir.resolve(), folder.resolve()).replace(os.sep, "/")
    except ValueError:  # two drives of Windows
        raise ConfigurationError(f"{folder} and the app are on different drives") from None
