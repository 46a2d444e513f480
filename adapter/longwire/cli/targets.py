"""From what a user types, or does not type, to MODULE:ATTRIBUTE and the folder it is in."""

from __future__ import annotations

import re
from pathlib import Path

from longwire.cli.importer import ImportTargetError

# Where an app is looked for when nobody names it.
FILES = ("main.py", "app.py", "api.py", "asgi.py", "lambda_function.py", "app/main.py")


def locate(target: str | None, app_dir: Path) -> tuple[str, Path]:
    """Return a module, with or without `:ATTRIBUTE`, and the folder that it is imported from."""
    if target is None:
        found = next((app_dir / name for name in FILES if (app_dir / name).is_file()), None)
        if found is None:
            raise ImportTargetError(
                f"there is no main.py or app.py in {app_dir.resolve()}: name the app, "
                "as MODULE:ATTRIBUTE or FILE.py"
            )
        return _of_file(found, "")
    path, attribute = _split(target)
    if not path.endswith(".py"):
        return target, app_dir
    file = next((one for one in (app_dir / path, Path(path)) if one.is_file()), None)
    if file is None:
        raise ImportTargetError(f"there is no file {path} in {app_dir.resolve()}")
    return _of_file(file, attribute)


def _split(target: str) -> tuple[str, str]:
    # A path may have a colon in it, as on Windows.
    found = re.fullmatch(r"(.+\.py):([\w.]*)", target)
    return (found[1], f":{found[2]}") if found else (target, "")


def _of_file(file: Path, attribute: str) -> tuple[str, Path]:
    """Return the module that a file is, in the packages that it is in."""
    file = file.resolve()
    names, folder = [file.stem], file.parent
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    if names[-1] == "__init__":
        names.pop()
    return ".".join(names) + attribute, folder
