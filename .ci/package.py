"""What a package says that a checkout cannot know: where the project is.

The release workflow says it by LONGWIRE_REPOSITORY, the URL of the repository, so that nothing has
to be filled in by hand and nothing is wrong in a fork. The package then has its URLs, and the
README's links, which are relative in the repository, lead there. An sdist keeps them for those who
build from it. Elsewhere there are no URLs, and the README is as it is.
"""

from __future__ import annotations

import os
import re
from email import message_from_string
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class PackageHook(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        root = Path(self.root)
        repository = _repository(root)
        readme = (root / "README.md").read_text(encoding="utf-8")
        if repository:
            base = f"{repository}/blob/v{metadata['version']}/"
            readme = absolute(readme, base)
            metadata["urls"] = {
                "Source": repository,
                "Documentation": f"{base}docs/README.md",
                "Changelog": f"{base}CHANGELOG.md",
                "Issues": f"{repository}/issues",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": readme}


def _repository(root: Path) -> str:
    told = os.environ.get("LONGWIRE_REPOSITORY", "").rstrip("/")
    built = root / "PKG-INFO"
    if told or not built.exists():
        return told
    urls = message_from_string(built.read_text(encoding="utf-8")).get_all("Project-URL", [])
    return dict(url.split(", ", 1) for url in urls).get("Source", "")


def absolute(page: str, base: str) -> str:
    """Return the page with its relative links, also those to pictures, under `base`."""
    return re.sub(r"\]\((?!#|[a-z]+:)([^)\s]+)\)", rf"]({base}\1)", page)
