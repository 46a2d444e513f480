"""From MODULE:ATTRIBUTE, or a module alone, to an app or a handler."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import logging
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longwire.exceptions import ConfigurationError
from longwire.local.function.inline import arity, kind

if TYPE_CHECKING:
    from types import ModuleType

logger: logging.Logger = logging.getLogger("longwire.local")


class ImportTargetError(ConfigurationError):
    """MODULE:ATTRIBUTE does not lead to an app or a handler; the text says why."""


# What is taken of a module when no attribute is named: the first of these that can be served.
ATTRIBUTES = ("handler", "app", "application", "lambda_handler")
FACTORIES = ("create_app", "make_app", "get_app", "build_app")
# By the names of its arguments an app is known.
ASGI = ("scope", "receive", "send")
WSGI = ("environ", "start_response")


def import_target(target: str, app_dir: Path, *, factory: bool = False) -> Any:
    """Import the app or handler `MODULE:ATTRIBUTE`, with `app_dir` first on the import path.

    Of a module alone it is the one with a usual name; a factory is called for it.
    """
    return find_target(target, app_dir, factory=factory)[1]


def find_target(target: str, app_dir: Path, *, factory: bool = False) -> tuple[str, Any]:
    """Do what `import_target` does, and return its `MODULE:ATTRIBUTE`, too."""
    if ":" in target:
        found = _load(target, app_dir)
    else:
        module = _import_from(target, app_dir)
        name = _usual_name(module, target, FACTORIES if factory else ATTRIBUTES)
        target, found = f"{target}:{name}", getattr(module, name)
    if factory:
        found = _made_by(found, target, app_dir)
    _check_callable(found, target)
    return target, found


def import_function(target: str, app_dir: Path) -> Any:
    """Import the Lambda function `MODULE:ATTRIBUTE`; neither an app nor a `Longwire` is one."""
    found = _load(target, app_dir)
    if not callable(found):
        raise ImportTargetError(
            f"{target} is of type {type(found).__name__}; expected a Lambda function"
        )
    least, most = arity(found)
    if kind(found) == "handler" or least > 2 or (most is not None and most < 2):
        raise ImportTargetError(
            f"{target} is not a Lambda function: that takes two arguments, event and context"
        )
    return found


def _load(target: str, app_dir: Path) -> Any:
    module_name, colon, attribute = target.partition(":")
    if not (colon and module_name and attribute):
        raise ImportTargetError(
            f"{target!r} is not of the form MODULE:ATTRIBUTE, for example main:app"
        )
    return _find_attribute(_import_from(module_name, app_dir), module_name, attribute)


def _usual_name(module: ModuleType, module_name: str, names: tuple[str, ...]) -> str:
    there = [name for name in names if callable(getattr(module, name, None))]
    # Mangum answers HTTP only.
    found = [name for name in there if type(getattr(module, name)).__name__ != "Mangum"]
    if found:
        return found[0]
    if names is ATTRIBUTES and any(hasattr(module, name) for name in FACTORIES):
        hint = "it has a factory, so add --factory"
    else:
        named = [name for name, value in vars(module).items() if _names(value) == ASGI]
        hint = f"name what to run, for example {module_name}:{named[0] if named else 'NAME'}"
    raise ImportTargetError(f"module {module_name!r} has no {' or '.join(names[:2])}: {hint}")


def _names(target: object) -> tuple[str, ...]:
    """Return how the arguments of an app are named, or of anything else that is no class."""
    if callable(target) and not isinstance(target, type):
        with contextlib.suppress(TypeError, ValueError):
            return tuple(inspect.signature(target).parameters)
    return ()


def _made_by(factory: Any, target: str, app_dir: Path) -> Any:
    if not callable(factory) or arity(factory)[0] > 0:
        raise ImportTargetError(f"--factory: {target} cannot be called without arguments")
    if inspect.iscoroutinefunction(factory):
        raise ImportTargetError(
            f"--factory: {target} is async, and nothing runs yet that could await it: make the app "
            "in a plain function, and await in its startup"
        )
    try:
        return factory()
    except (Exception, SystemExit) as error:
        logger.debug("calling %r failed", target, exc_info=True)
        detail, place = f"{type(error).__name__}: {error}", _place(error, app_dir)
    raise ImportTargetError(f"calling {target} failed at {place}: {detail}")


def _import_from(module_name: str, app_dir: Path) -> ModuleType:
    if not app_dir.is_dir():
        raise ImportTargetError(f"--app-dir: there is no folder {app_dir}")
    directory = str(app_dir.resolve())
    if sys.path[:1] != [directory]:
        sys.path.insert(0, directory)
    return _import(module_name, app_dir)


def _import(module_name: str, app_dir: Path) -> ModuleType:
    _check_name(module_name)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if _is_part_of(error.name, module_name):
            raise ImportTargetError(
                f"there is no module {module_name!r} in {app_dir.resolve()} or on the import path"
                f"{_with_colon(module_name)}"
            ) from None
        detail = str(error)
        place = _place(error, app_dir)
    except SyntaxError as error:
        detail, place = f"SyntaxError: {error.msg}", f"{error.filename}:{error.lineno}"
    except (Exception, SystemExit) as error:
        # A module that calls sys.exit() is as broken as one that raises.
        detail, place = f"{type(error).__name__}: {error}", _place(error, app_dir)
    logger.debug("importing %r failed", module_name, exc_info=True)
    raise ImportTargetError(f"importing {module_name!r} failed at {place}: {detail}")


def _check_name(module_name: str) -> None:
    if all(part.isidentifier() for part in module_name.split(".")) and module_name[-3:] != ".py":
        return
    parts = [part for part in Path(module_name.removesuffix(".py")).parts if part.isidentifier()]
    raise ImportTargetError(
        f"{module_name!r} is not a module name: write it with dots and without .py, "
        f"for example {'.'.join(parts) or 'main'}:app"
    )


def _is_part_of(missing: str | None, module_name: str) -> bool:
    """Tell whether the missing module is the target or a package that it is in."""
    return missing is not None and f"{module_name}.".startswith(f"{missing}.")


def _with_colon(module_name: str) -> str:
    """Suggest a colon where the last name is one that the module before it has."""
    module, _, name = module_name.rpartition(".")
    if callable(getattr(sys.modules.get(module), name, None)):
        return f"; did you mean {module}:{name}?"
    return ""


def _place(error: BaseException, app_dir: Path) -> str:
    """Return the file and line that failed: in the app if possible, not in what it called."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if Path(frame.filename).is_relative_to(app_dir.resolve())]
    frame = (inside or frames)[-1]
    return f"{frame.filename}:{frame.lineno}"


def _find_attribute(module: ModuleType, module_name: str, attribute: str) -> Any:
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise ImportTargetError(
                f"module {module_name!r} has no attribute {attribute!r}{_near(found, name)}"
            )
        found = getattr(found, name)
    return found


def _near(holder: object, name: str) -> str:
    public = [each for each in dir(holder) if not each.startswith("_")]
    near = difflib.get_close_matches(name, public, n=3)
    if not near:
        near = [each for each in ("app", "application", "handler") if each in public]
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def _check_callable(found: object, target: str) -> None:
    if not callable(found):
        raise ImportTargetError(
            f"{target} is of type {type(found).__name__}; expected an ASGI app, a Longwire "
            "handler or a Lambda function"
        )
    if _names(found) == WSGI:
        raise ImportTargetError(
            f"{target} is a WSGI app, which has no WebSockets; expected an ASGI app, as Django "
            "makes one with get_asgi_application()"
        )
    least, most = arity(found)
    if most is None or (least <= 3 and most >= 2):
        return
    if least == 0:
        raise ImportTargetError(
            f"{target} needs no arguments, so it looks like a factory: add --factory"
        )
    raise ImportTargetError(
        f"{target} cannot be called with 2 or 3 arguments; an ASGI app takes scope, receive and "
        "send, a Lambda function takes event and context"
    )
