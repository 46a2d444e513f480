"""Whether a tag may become a release: python .ci/release.py v0.2.0.

The tag is the version of the code, the changelog has it with a date and has nothing unreleased.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python .ci/release.py TAG\n")
        return 2
    code = (ROOT / "adapter/longwire/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'(?m)^__version__ = "(.+)"$', code)
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    wrong = problems(arguments[0], found[1] if found else "", changelog)
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return int(bool(wrong))


def problems(tag: str, version: str, changelog: str) -> list[str]:
    """Return what stands against it, a line for each."""
    found = []
    if tag != f"v{version}":
        found.append(
            f"the tag is {tag}, and the code says {version}: set __version__, or tag v{version}"
        )
    if not re.search(rf"(?m)^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog):
        found.append(f"CHANGELOG.md has no heading '## [{version}] - YYYY-MM-DD'")
    unreleased = re.search(r"(?ms)^## \[Unreleased\]\n(.*?)(?=^## \[|\Z)", changelog)
    if unreleased and unreleased[1].strip():
        found.append(f"CHANGELOG.md has entries under [Unreleased]: move them to [{version}]")
    return found


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
