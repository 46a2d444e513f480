"""The pages of this repository, and the blocks of code in them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
}
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """What stands between two fences of a page."""

    page: str
    language: str
    code: str


BLOCKS = [
    Block(page, language, textwrap.dedent(code))
    for page, text in PAGES.items()
    for _, language, code in _FENCE.findall(text)
]
# All that is not in blocks.
PROSE = {page: _FENCE.sub("", text) for page, text in PAGES.items()}


def blocks(language: str, *pages: str) -> list[str]:
    """Return the code of all blocks in a language, of these pages or of all."""
    return [
        block.code
        for block in BLOCKS
        if block.language == language and (not pages or block.page in pages)
    ]


# Each python block begins with the name of its file.
FILES = {code.split()[1]: code for code in blocks("python")}
