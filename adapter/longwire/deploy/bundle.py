"""What goes into a function's zip, and what does not; the bytes of the zip."""

from __future__ import annotations

import fnmatch
import io
import re
import shlex
import zipfile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from longwire.deploy.plan import Architecture, Plan

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
UNZIPPED_LIMIT = 250 * 1024 * 1024  # of the function and its layers together
ZIPPED_LIMIT = 50 * 1024 * 1024  # of what is uploaded without S3
# Where a template looks for the zip.
ZIP = "function.zip"
# Marks a zip as ours, so that the next one may take its place.
MARK = b"longwire bundle"
# Where Python looks in a layer.
LAYER = "python/"

# Of Longwire itself: what no function needs.
TOOLS = ("longwire/cli", "longwire/deploy", "longwire/doctor", "longwire/local", "longwire/testing")
# Of an app: what is about it, and not of it.
NOT_OF_APPS = (
    *(".*", "__pycache__", "*.pyc", "*.egg-info", "node_modules", "cdk.out"),
    *("test", "tests", "test_*.py", "*_test.py", "conftest.py"),
    *("*.zip", "*.whl", "*.sqlite3", "*.sqlite3-*", "*.tfstate", "*.tfstate.*", "*.pem", "*.key"),
    *("Makefile", "pytest.ini", "requirements*.txt", "samconfig.toml", "template.yaml"),
    *("*.tf", "*.tfvars", "*.tfplan", "serverless.yml"),
)
# Of an installed package: scripts, its tests, and what pip notes of where it was installed.
NOT_OF_PACKAGES = (
    *("bin/*", "*.pyc", "*/tests/test_*.py", "*/tests/*/test_*.py"),
    *(f"*.dist-info/{name}" for name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")),
)

# Extras of Longwire that a function has no use for, and those whose package Lambda's Python has.
OF_DEVELOPMENT = ("dev", "instances", "testing", "sqlite3")
IN_LAMBDA = {"dynamodb": "botocore", "s3": "botocore"}

# The version of the C library that Lambda's Python has: Amazon Linux 2, and 2023 since 3.12.
GLIBC = {"3.11": 26}
MACHINES: dict[Architecture, str] = {"arm64": "aarch64", "x86_64": "x86_64"}


def command(plan: Plan) -> str:
    """Return what packs a function, typed where the template is."""
    module, _, attribute = plan.handler.rpartition(".")
    place = "" if plan.code == "." else f" --app-dir {shlex.quote(plan.code)}"
    made = f"--into {ZIP} --python {plan.python} --arch {plan.architecture}"
    return f"longwire bundle {module}:{attribute}{place} {made}"


class Requirements(NamedTuple):
    """What pip installs, and what it is spared."""

    lines: tuple[str, ...]
    left_out: tuple[str, ...]


class TooLargeError(Exception):
    """What would be unzipped is more than Lambda takes; the text says what is large."""


def is_of_app(path: str) -> bool:
    """Tell whether a file in the app's folder is part of the app; the path has `/`."""
    return not any(
        fnmatch.fnmatchcase(part, pattern) for part in path.split("/") for pattern in NOT_OF_APPS
    )


def is_of_package(path: str) -> bool:
    """Tell whether a file that pip has installed is needed."""
    return not any(fnmatch.fnmatchcase(path, pattern) for pattern in NOT_OF_PACKAGES)


def is_of_function(path: str) -> bool:
    """Tell whether a file of Longwire's packages, such as `longwire/handler.py`, is needed."""
    return not path.startswith(tuple(f"{folder}/" for folder in TOOLS)) and path.endswith(".py")


def newest_glibc(python: str) -> int:
    """Return the minor version of the C library, 2.x, that Lambda has for a version of Python."""
    return GLIBC.get(python, 34)


def platforms(python: str, architecture: Architecture) -> list[str]:
    """Return the tags of wheels that run on Lambda, the newest first."""
    machine = MACHINES[architecture]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest_glibc(python), 16, -1)]
    return [*tags, f"manylinux2014_{machine}"]


def pip_arguments(python: str, architecture: Architecture, target: str, file: str) -> list[str]:
    """Return how pip is called, so that it takes wheels for Lambda and builds nothing."""
    tags = [part for tag in platforms(python, architecture) for part in ("--platform", tag)]
    return [
        *("install", "--target", target, "--only-binary=:all:", "--no-compile", "--quiet"),
        *("--disable-pip-version-check", "--no-input", "--implementation", "cp"),
        *("--python-version", python, *tags, "--requirement", file),
    ]


def own_requirements(lines: Iterable[str], extras: Mapping[str, Iterable[str]]) -> Requirements:
    """Put what Longwire's extras need in the place of Longwire, whose own code is at hand.

    `extras` has the requirements of each extra.
    """
    kept: list[str] = []
    of_extras: list[str] = []
    left_out: list[str] = []
    for line in lines:
        named = re.match(
            r"\s*longwire\s*(?:\[([^\]]*)\])?\s*(?=[=<>~!;@#\s]|$)", line, re.IGNORECASE
        )
        if named is None:
            kept.append(line)
            continue
        for extra in re.findall(r"[\w-]+", named[1] or ""):
            if extra in IN_LAMBDA:
                left_out.append(f"{IN_LAMBDA[extra]} (Lambda's Python has it)")
            elif extra in OF_DEVELOPMENT:
                left_out.append(f"longwire[{extra}]")
            else:
                of_extras.extend(extras.get(extra, ()))
    # A file with hashes names all that is installed, and pip takes no line without one.
    named_here = set(map(_name, kept)) if any("--hash" in line for line in kept) else set()
    kept = [*(line for line in of_extras if _name(line) not in named_here), *kept]
    return Requirements(tuple(dict.fromkeys(kept)), tuple(dict.fromkeys(left_out)))


def _name(line: str) -> str:
    found = re.match(r"[\w.-]+", line)
    return re.sub(r"[-_.]+", "-", found[0].lower()) if found else ""


def requirement_lines(text: str) -> Iterator[str]:
    """Yield the lines of a requirements.txt, joined where they go on, without comments."""
    joined = re.sub(r"\\\r?\n", " ", text)
    for line in joined.splitlines():
        if stripped := re.sub(r"(^|\s)#.*", "", line).strip():
            yield stripped


def included(line: str) -> str | None:
    """Return the file that a line of requirements.txt includes, if it is such a line."""
    found = re.match(r"(?:-r|--requirement)(?:\s+|=)?(\S.*)", line)
    return found[1] if found else None


def sizes(files: Mapping[str, bytes]) -> dict[str, int]:
    """Return how many bytes each package, or file at the top, has; the largest first."""
    found: dict[str, int] = {}
    for path, data in files.items():
        top = path.removeprefix(LAYER).partition("/")[0]
        name = re.sub(r"(-[^-]+\.dist-info|\.libs)$", "", top)
        found[name] = found.get(name, 0) + len(data)
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


def megabytes(size: int) -> str:
    """Return a size to be read."""
    return f"{size / 1024 / 1024:.1f} MB"


def largest(files: Mapping[str, bytes], number: int = 5) -> str:
    """Return the largest of what is in a bundle, to be read."""
    return ", ".join(
        f"{name} {megabytes(size)}" for name, size in list(sizes(files).items())[:number]
    )


def check_size(*bundles: Mapping[str, bytes]) -> None:
    """Raise `TooLargeError` for a function and its layer that Lambda would refuse."""
    files = {path: data for bundle in bundles for path, data in bundle.items()}
    if (size := sum(map(len, files.values()))) > UNZIPPED_LIMIT:
        raise TooLargeError(
            f"{megabytes(size)} unzipped, and Lambda takes {megabytes(UNZIPPED_LIMIT)}, with all "
            f"layers: the largest are {largest(files)}"
        )


def archive(files: Mapping[str, bytes]) -> bytes:
    """Return a zip, the same for the same files: in order, and with no time and no user."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        file.comment = MARK
        for path in sorted(files):
            info = zipfile.ZipInfo(path, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # Unix, whose rights Lambda looks at
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, files[path])
    return out.getvalue()
