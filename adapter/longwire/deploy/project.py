"""`longwire new`: the files of a new project, from those in `projects/`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from longwire.deploy import sam
from longwire.deploy.plan import PYTHONS, Plan, Python, check
from longwire.exceptions import ConfigurationError

FILES = Path(__file__).with_name("projects")
# All of them end in .txt, so that no tool takes them for files of ours; these are not at the top.
PLACES = {
    "main.py": "app/main.py",
    "page.html": "app/page.html",
    "test_main.py": "tests/test_main.py",
    "gitignore": ".gitignore",
    "requirements-dev": "requirements-dev.txt",
}


class ProjectKind(NamedTuple):
    """A kind of project."""

    about: str
    requires: tuple[str, ...]
    # Of the command line of `make dev`, and of `pip install`.
    variables: str = ""
    options: str = ""
    extras: str = "dev,http,sqlite3,testing"
    answers_http: bool = True
    paths: tuple[str, ...] = ()


KINDS = {
    "chat": ProjectKind(
        "rooms and a page, FastAPI",
        ("longwire[http]{version}", "fastapi>=0.115"),
        paths=("/rooms/lobby",),
    ),
    "users": ProjectKind(
        "an HTTP route that finds a user's connections, FastAPI",
        ("longwire[http]{version}", "fastapi>=0.115"),
        paths=("/ws",),
    ),
    "routes": ProjectKind(
        "a Lambda function for each route, no framework",
        ("longwire{version}",),
        variables="LONGWIRE_DSN=sqlite:///.longwire.sqlite3 ",
        options=" --route join --route say",
        extras="dev,sqlite3",
        answers_http=False,
    ),
}


def plan(name: str, kind: str, python: tuple[int, int], version: str) -> Plan:
    """Return what the project deploys: on the Python that makes it, if Lambda has that."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,39}", name):
        raise ConfigurationError(_bad_name(name))
    planned = Plan(
        name=name,
        handler="main.handler",
        answers_http=KINDS[kind].answers_http,
        routes=KINDS[kind].paths,
        code="app",
        requires=tuple(line.format(version=f">={version}") for line in KINDS[kind].requires),
    )
    here = f"{python[0]}.{python[1]}"
    known: Python = next((one for one in PYTHONS if one == here), planned.python)
    return check(planned._replace(python=known))


def files(name: str, kind: str, python: tuple[int, int], version: str) -> dict[str, str]:
    """Return the files of a new project: a path, relative and with `/`, to its text."""
    planned, what = plan(name, kind, python, version), KINDS[kind]
    values = {
        "name": name,
        "python": planned.python,
        "dev_variables": what.variables,
        "dev_options": what.options,
        "dev_extras": what.extras,
    }
    written = {**_in_place("all"), **_in_place(kind)}
    filled = {path: _filled(text, values) for path, text in written.items()}
    beside = {f"{planned.code}/{path}": text for path, text in planned.files().items()}
    # That of `routes` has several functions, and is its own.
    stack = {} if "template.yaml" in filled else sam.render(planned)
    return dict(sorted({**filled, **beside, **stack}.items()))


def _bad_name(name: str) -> str:
    if re.search(r"[/\\]", name) or set(name) == {"."}:
        return f"{name!r} is a path; give a name, and its folder is made in the one you are in"
    like = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40]
    return (
        f"{name!r} cannot be the name of a stack: that has up to 40 letters, digits and '-', a "
        f"letter first{f', such as {like}' if like[:1].isalpha() else ''}"
    )


def _in_place(folder: str) -> dict[str, str]:
    """Return the texts of a folder by their places in the project."""
    texts = {path.name.removesuffix(".txt"): path for path in (FILES / folder).glob("*.txt")}
    return {PLACES.get(name, name): path.read_text("utf-8") for name, path in texts.items()}


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], text)
