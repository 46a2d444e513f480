"""What `longwire bundle` collects: files of the app, of packages for Lambda, of Longwire."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from longwire.cli.options import CannotServeError
from longwire.deploy import bundle
from longwire.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from longwire.deploy.bundle import Requirements
    from longwire.deploy.plan import Plan

# What a function imports of ours.
OWN = ("longwire", "longwire_backends", "longwire_aws")
# Where Lambda unpacks a function; tracebacks name it.
TASK = "/var/task"
NO_PYTHON = (
    "no compiled modules, since there is no python{python} here: each cold start compiles what it "
    "imports"
)
OTHER_PYTHON = (
    "conditions of requirements on the version of Python were decided for the one that runs this, "
    "{here}, and not for {python}"
)
# What nobody looks for in a bundle need not be told, and of the rest not all.
HIDDEN, MOST = r"(^|/)(\..*|__pycache__|[^/]*\.pyc|requirements[^/]*\.txt|Makefile)$", 8
MODULE = re.compile(r"[^/]+(/[^/]+)*\.py")


def of_app(folder: Path, entry: tuple[str, str] | None) -> tuple[dict[str, bytes], list[str]]:
    """Return the files of an app by their paths in the zip, and what of its folder is left out."""
    left_out: list[str] = []
    files = dict(_files(folder, bundle.is_of_app, left_out.append))
    if entry is not None:
        files[entry[0]] = entry[1].encode()
    return files, left_out


def own() -> dict[str, bytes]:
    """Return what a function needs of Longwire."""
    found: dict[str, bytes] = {}
    for name in OWN:
        folder = Path(str(importlib.import_module(name).__file__)).parent
        files = {f"{name}/{path}": data for path, data in _files(folder, lambda _: True)}
        found |= {path: data for path, data in files.items() if bundle.is_of_function(path)}
    return found


def _files(
    folder: Path, wanted: Callable[[str], bool], leave: Callable[[str], object] = lambda _: None
) -> Iterator[tuple[str, bytes]]:
    """Yield the files in a folder that are wanted; virtual environments are none of it."""
    # Links are followed, unless to a folder that they are in.
    above: dict[str, tuple[str, ...]] = {str(folder): (os.path.realpath(folder),)}
    for place, folders, names in os.walk(folder, followlinks=True):
        inside, within = Path(place).relative_to(folder), above.pop(place)
        kept = []
        for name in sorted(folders):
            path, real = os.path.join(place, name), os.path.realpath(os.path.join(place, name))
            if not wanted((inside / name).as_posix()):
                leave((inside / name).as_posix())
            elif name != "__pycache__" and real not in within and not _is_environment(path):
                kept.append(name)
                above[path] = (*within, real)
        folders[:] = kept
        for name in sorted(names):
            file = Path(place, name)
            # What is no file, such as a pipe, would never be read to its end.
            if not wanted((inside / name).as_posix()) or (file.exists() and not file.is_file()):
                leave((inside / name).as_posix())
                continue
            try:
                yield (inside / name).as_posix(), file.read_bytes()
            except OSError as error:
                raise CannotServeError(f"cannot read {file}: {error.strerror or error}") from None


def _is_environment(path: str) -> bool:
    return os.path.exists(os.path.join(path, "pyvenv.cfg"))


def required(file: Path | None, planned: Iterable[str]) -> Requirements:
    """Return what a requirements.txt asks for, or what was planned where there is none."""
    lines = list(planned) if file is None else list(_lines(file, ()))
    return bundle.own_requirements(lines, _extras())


def _lines(file: Path, outer: tuple[Path, ...]) -> Iterator[str]:
    if (resolved := file.resolve()) in outer:
        raise ConfigurationError(f"{os.path.relpath(file)} includes itself")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        detail = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigurationError(f"cannot read {os.path.relpath(file)}: {detail}") from None
    for line in bundle.requirement_lines(text):
        other = bundle.included(line)
        if constraints := re.match(r"(?:-c|--constraint)(?:\s+|=)?(\S.*)", line):
            yield f"-c {(file.parent / constraints[1]).resolve()}"
        elif editable := re.match(r"(?:-e|--editable)(?:\s+|=)?(\S.*)", line):
            yield editable[1]  # or the zip has where it is here, and not what is in it
        elif other is None:
            yield line
        else:
            yield from _lines(file.parent / other, (*outer, resolved))


def _extras() -> dict[str, list[str]]:
    """Return what each extra of the Longwire that is here needs."""
    found: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("longwire") or ():
        requirement, _, condition = line.partition(";")
        if extra := re.search(r"extra == ['\"]([\w-]+)['\"]", condition):
            rest = re.sub(r"\s*\band\s*$|^\s*and\b\s*", "", condition.replace(extra[0], "").strip())
            found.setdefault(extra[1], []).append(
                f"{requirement}; {rest}" if rest.strip(" ()") else requirement
            )
    return found


def installed(required: Requirements, plan: Plan, scratch: Path) -> dict[str, bytes]:
    """Have pip install for Lambda, and return the files by their paths in the zip."""
    if not required.lines:
        return {}
    target, listed = scratch / "packages", scratch / "requirements.txt"
    listed.write_text("".join(f"{line}\n" for line in required.lines), encoding="utf-8")
    arguments = bundle.pip_arguments(plan.python, plan.architecture, str(target), str(listed))
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotServeError(_why(done.stderr, plan))
    return dict(_files(target, bundle.is_of_package))


def _why(stderr: str, plan: Plan) -> str:
    """Return one line of what pip says."""
    if "No module named pip" in stderr:
        return f"there is no pip in this environment: {sys.executable} -m ensurepip"
    lines = stderr.strip().splitlines() or ["pip failed"]
    last = max((n for n, line in enumerate(lines) if line.startswith("ERROR:")), default=-1)
    about = lines[last].removeprefix("ERROR: ")
    if about.endswith(":") or "HASHES" in about:  # of what, is in the lines below
        about = " ".join([about, *(line.strip() for line in lines[last + 1 :][:3])])
    hint = ""
    if "No matching distribution" in about or "not find a version" in stderr:
        hint = (
            f": there may be no wheel for python{plan.python} on {plan.architecture}; try another "
            "--arch or --python, or build one"
        )
    return f"pip: {about}{hint}"


def notes(required: Requirements, plan: Plan, of_app: list[str]) -> list[str]:
    """Say what is not in the bundle, and why; `of_app` is what of the app's folder is not."""
    told = sorted(path for path in of_app if not re.search(HIDDEN, path))
    more = f" and {len(told) - MOST} more" if len(told) > MOST else ""
    left_out = ", ".join((*required.left_out, "Longwire's command line, local gateway and testing"))
    here = _here()
    other = here != plan.python and any("python_version" in line for line in required.lines)
    return [
        f"left out: {left_out}",
        *([f"left out of the app: {', '.join(told[:MOST])}{more}"] if told else []),
        *([OTHER_PYTHON.format(here=here, python=plan.python)] * other),
    ]


def compiled(
    app: dict[str, bytes], shared: dict[str, bytes], python: str, scratch: Path
) -> tuple[dict[str, bytes], dict[str, bytes], bool]:
    """Add compiled modules, which Lambda cannot keep, as its folders are read-only.

    They are the same for the same modules, and are believed without a look at these.
    """
    command = _interpreter(python)
    if command is None:
        return app, shared, False
    both = {path: data for files in (shared, app) for path, data in files.items()}
    found = _compile(command, {p: d for p, d in both.items() if MODULE.fullmatch(p)}, scratch)
    of_app = {path: data for path, data in found.items() if _source(path) in app}
    of_shared = {path: data for path, data in found.items() if path not in of_app}
    return app | of_app, shared | of_shared, True


def _interpreter(python: str) -> str | None:
    """Return a Python of a version; what is called so may be something else, or nothing."""
    if python == _here():
        return sys.executable
    command = shutil.which(f"python{python}")
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    said = command and subprocess.run([command, "-c", ask], capture_output=True, text=True)
    return command if said and said.stdout.strip() == python else None


def _here() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def _compile(command: str, modules: dict[str, bytes], scratch: Path) -> dict[str, bytes]:
    folder = scratch / "modules"
    for path, data in modules.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    subprocess.run(  # a module that does not compile is left for whoever imports it
        [
            *(command, "-PSs", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"),
            *("-s", str(folder), "-p", TASK, str(folder)),
        ],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    found = sorted(folder.rglob("__pycache__/*.pyc"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def _source(path: str) -> str:
    """Return the module that a compiled one is of."""
    folder, _, name = path.rpartition("__pycache__/")
    return f"{folder}{name.partition('.')[0]}.py"
