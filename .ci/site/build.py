"""The documents as a site: python .ci/site/build.py [--serve]. `make site` makes what it needs.

Copies the pages to `.site/pages` as they lie in the repository, so that a link which works on a
code host works here, adds pages of the examples and of what users import, and has Zensical build
them into `.site/html`. A broken link or anchor, a docstring that cannot be read, and a name that
is missing in the reference are errors.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[2]
SITE = ROOT / ".site"
PAGES, HTML, CONFIG = SITE / "pages", SITE / "html", SITE / "zensical.toml"
ZENSICAL = [Path(sys.executable).with_name("zensical")]
# Modules that users import from, and the file that has `__all__` or is one.
MODULES = {
    "longwire": "adapter/longwire/__init__.py",
    "longwire.testing": "adapter/longwire/testing/__init__.py",
    "longwire.channels": "adapter/longwire/channels.py",
    "longwire_backends": "backends/longwire_backends/__init__.py",
    "longwire.exceptions": "adapter/longwire/exceptions.py",
}
ALL_FIELDS = "    options:\n      show_if_no_docstring: true\n"
PROJECT = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--serve"]):
        sys.stderr.write("usage: python .ci/site/build.py [--serve]\n")
        return 2
    names = stage()
    if arguments:
        return serve()
    done = subprocess.run(
        [*ZENSICAL, "build", "--strict", "--clean", "--config-file", CONFIG],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    said = re.sub(r"\x1b\[[\d;]*m", "", done.stdout)
    if done.returncode or "griffe:" in said:
        # Behind its warnings there is only the traceback of having been strict.
        sys.stderr.write(said.partition("Traceback")[0] if "Warning:" in said else said)
        return 1
    wrong = list(broken(HTML)) + [
        f"the reference has no {name}" for name in names if not _is_shown(name)
    ]
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    if not wrong:
        sys.stdout.write(f"{sum(1 for _ in HTML.rglob('*.html'))} pages: {HTML / 'index.html'}\n")
    return int(bool(wrong))


def serve() -> int:
    """Serve the pages, and take over what is written meanwhile."""
    with subprocess.Popen([*ZENSICAL, "serve", "--config-file", CONFIG]) as server:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        seen = _changed()
        try:
            while server.poll() is None:
                time.sleep(0.5)
                if (now := _changed()) != seen:
                    seen = now
                    stage()
        except KeyboardInterrupt:
            server.terminate()
            return 0
    return server.returncode


# The pages


def stage() -> list[str]:
    """Write all pages and the configuration; return what the reference is to have."""
    shutil.rmtree(PAGES, ignore_errors=True)
    pages = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in [
            ROOT / "README.md",
            *(ROOT / "docs").glob("*.md"),
            *map(ROOT.joinpath, PROJECT),
        ]
    }
    pages = {name: _lead_to_examples(text) for name, text in pages.items()}
    nav: list[object] = [{"Longwire": "README.md"}]
    nav += _sections(pages)
    nav.append({"Examples": _examples(pages)})
    reference, names = _reference(pages)
    nav.append({"Reference": reference})
    nav.append({"Project": [{_title(pages[name]): name} for name in PROJECT]})
    for name, text in pages.items():
        path = PAGES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "docs/images", PAGES / "docs/images")
    shutil.copy(Path(__file__).with_name("site.css"), PAGES)
    settings = Path(__file__).with_name("zensical.toml").read_text(encoding="utf-8")
    CONFIG.write_text(
        settings.replace("[project]\n", f"[project]\nnav = {_toml(nav)}\n", 1), encoding="utf-8"
    )
    return names


def _sections(pages: dict[str, str]) -> list[object]:
    """Read the index: each heading is a section, each row of its table a page."""
    index = pages["docs/README.md"]
    sections: list[object] = []
    for section in index.split("\n## ")[1:]:
        linked = re.findall(r"(?m)^\| \[.*?\]\(([\w-]+\.md)\)", section)
        rows = [{_title(pages[f"docs/{name}"]): f"docs/{name}"} for name in linked]
        sections.append({section.partition("\n")[0]: rows})
    sections.insert(0, {_title(index): "docs/README.md"})
    return sections


def _title(page: str) -> str:
    return page.partition("\n")[0].removeprefix("# ").replace("`", "")


def _lead_to_examples(page: str) -> str:
    """Here they are pages; in the repository, files."""
    page = re.sub(r"(\]\((?:\.\./)?examples)\)", r"\1/README.md)", page)
    return re.sub(r"(\]\((?:\.\./)?examples/\w+)\.py\)", r"\1.md)", page)


def _examples(pages: dict[str, str]) -> list[object]:
    rows = []
    for path in sorted((ROOT / "examples").glob("*.py")):
        code = path.read_text(encoding="utf-8")
        said = ast.get_docstring(ast.parse(code)) or ""
        pages[f"examples/{path.stem}.md"] = (
            f'# {path.name}\n\n```python title="examples/{path.name}"\n{code}```\n'
        )
        rows.append((path, said.partition("\n")[0]))
    table = "".join(f"| [{path.name}]({path.stem}.md) | {said} |\n" for path, said in rows)
    pages["examples/README.md"] = f"# Examples\n\n| file | what it is |\n|---|---|\n{table}"
    return [
        {"Examples": "examples/README.md"},
        *({path.name: f"examples/{path.stem}.md"} for path, _ in rows),
    ]


def _reference(pages: dict[str, str]) -> tuple[list[object], list[str]]:
    """Add a page for each module; errors are on that of all errors."""
    rows: list[object] = []
    shown: list[str] = []
    fields = _of_fields()
    for module, file in MODULES.items():
        of_errors = module == "longwire.exceptions"
        names = [name for name in _exported(ROOT / file) if name.endswith("Error") == of_errors]
        code = "".join(
            f"::: {module}.{name}\n{ALL_FIELDS if name in fields else ''}\n" for name in names
        )
        title = "Errors" if of_errors else module
        said = _opening(ROOT / file)
        pages[f"reference/{module}.md"] = f"# {title}\n\n{said}\n\n{code}"
        rows.append({title: f"reference/{module}.md"})
        shown += [f"{module}.{name}" for name in names]
    return rows, shown


def _of_fields() -> set[str]:
    """Return the classes whose attributes have names that say enough."""
    return {
        node.name
        for folder in ("adapter", "backends")
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base) in ("NamedTuple", "TypedDict") for base in node.bases)
    }


def _exported(file: Path) -> list[str]:
    """Return what `__all__` has, less what is another package's; else the public classes."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    foreign = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not str(node.module).startswith("longwire")
        for alias in node.names
    }
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name("__all__")], value=value):
                return [name for name in ast.literal_eval(value) if name not in foreign]
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    return [name for name in classes if not name.startswith("_")]


def _opening(file: Path) -> str:
    said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return said.partition("\n")[0]


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(k)} = {_toml(v)}' for k, v in value.items())} }}"
    return json.dumps(value)


# What was built


class _Page(HTMLParser):
    """The ids of a page, and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def broken(html: Path) -> list[str]:
    """Return what leads nowhere within the site, or loads something from elsewhere."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in html.rglob("*.html")}
    return [
        f"{path.relative_to(html)}: {link}"
        for path, page in pages.items()
        if path.name != "404.html"  # served at any depth, so its links are absolute
        for link in page.links
        if not _leads(link, path, pages)
    ]


def _leads(link: str, path: Path, pages: dict[Path, _Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not parts.fragment or target not in pages:
        return target.exists()
    return unquote(parts.fragment) in pages[target].ids | {"__codelineno"}


def _is_shown(name: str) -> bool:
    pages = (path.read_text(encoding="utf-8") for path in (HTML / "reference").rglob("*.html"))
    return any(f'id="{name}"' in page for page in pages)


def _changed() -> float:
    watched = [ROOT / "README.md", *map(ROOT.joinpath, PROJECT)]
    for folder in ("docs", "examples", "adapter", "backends"):
        watched += [path for path in (ROOT / folder).rglob("*.*") if path.suffix in (".md", ".py")]
    return max(path.stat().st_mtime for path in watched if path.exists())


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
