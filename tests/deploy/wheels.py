"""Wheels for tests, so that pip needs no index: of packages that are installed here, and others."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# FastAPI, HTTP events, and all that they need, in whatever version.
OF_FASTAPI = (
    *("annotated-doc", "annotated-types", "anyio", "fastapi", "idna", "mangum", "pydantic"),
    *("pydantic-core", "starlette", "typing-extensions", "typing-inspection", "sniffio"),
    *("opentelemetry-api", "importlib-metadata", "zipp", "exceptiongroup"),
)
ANY_LINUX = "manylinux2014_x86_64"


def of_fastapi(folder: Path) -> None:
    """Write the wheels of FastAPI and of what it needs, as far as that is here."""
    for name in OF_FASTAPI:
        try:
            installed(folder, name)
        except metadata.PackageNotFoundError:
            continue


def wheel(folder: Path, name: str, files: dict[str, bytes], *, version: str, tag: str) -> None:
    """Write a wheel as pip wants it."""
    record = io.StringIO()
    lines = csv.writer(record, lineterminator="\n")
    info = f"{name}-{version}.dist-info"
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.writerow([path, f"sha256={digest}", len(data)])
    lines.writerow([f"{info}/RECORD", "", ""])
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)
        wheel.writestr(f"{info}/RECORD", record.getvalue())


def invented(
    folder: Path,
    name: str,
    tag: str = "py3-none-any",
    files: dict[str, bytes] | None = None,
    *,
    needs: str = "",
) -> None:
    """Write a wheel of a package that there is not."""
    info = f"{name}-1.0.dist-info"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    about += f"Requires-Dist: {needs}\n" if needs else ""
    about_wheel = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n"
    content = {f"{name}/{path}": data for path, data in (files or {"__init__.py": b""}).items()}
    content |= {f"{info}/METADATA": about.encode(), f"{info}/WHEEL": about_wheel.encode()}
    wheel(folder, name, content, version="1.0", tag=tag)


def installed(folder: Path, name: str) -> None:
    """Make the wheel again that a package here was installed from."""
    found = metadata.distribution(name)
    assert found.files is not None
    files = {
        str(path): found.locate_file(path).read_bytes()  # type: ignore[attr-defined]
        for path in found.files
        if ".." not in path.parts and path.suffix != ".pyc" and path.name not in ("RECORD",)
    }
    tags = [
        line.split()[1] for line in (found.read_text("WHEEL") or "").splitlines() if "Tag:" in line
    ]
    top = next(path for path in files if path.endswith(".dist-info/METADATA")).partition("-")[0]
    # Built here it may have a tag of this machine; as for Lambda it is that of an older library.
    tag = tags[0] if "linux" not in tags[0] else f"{tags[0].rpartition('-')[0]}-{ANY_LINUX}"
    wheel(folder, top, files, version=found.version, tag=tag)
