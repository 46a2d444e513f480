"""Compare Longwire with the floor; beside it with itself, with an earlier one, and with others.

    python -m benchmarks.run [--rows NAMES] [--stores NAMES] [--before COMMIT] [--quick]

The floor (`floor/`) is the least code that does the same once. Aims are what Longwire takes as a
multiple of it, or of what a row names instead; `table.py` says what the columns are. Mangum 0.12.4,
boto3 and others are only shown, since what they take differs from machine to machine. All run the
same Starlette app, each in a process of its own, with the same store, and post to the same server
in another. Rounds run in turn; shown are medians, and of ratios the median of the rounds' own. No
figure makes this fail.

`--rows instructions` shows none but those, which repeat to 1 %.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from benchmarks import instructions
from benchmarks.race import set_environment
from benchmarks.rows import dev, events, growth, lingers, posts, replay, requests, runtime, starts
from benchmarks.setup import Setup, at_commit, last_release
from benchmarks.stores import STORES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROWS: dict[str, Callable[[Setup], None]] = {
    "events": events.compare,
    "posts": posts.compare,
    "instructions": instructions.compare,
    "starts": starts.compare,
    "runtime": runtime.compare,
    "growth": growth.compare,
    "dev": dev.compare,
    "replay": replay.compare,
    "requests": requests.compare,
    "lingers": lingers.compare,
}


def main(arguments: Sequence[str] | None = None) -> None:
    given = parse(arguments)
    set_environment()
    before = last_release() if given.before is None else given.before
    print(
        f"Python {sys.version.split()[0]}, starlette {version('starlette')}, "
        f"{time.strftime('%Y-%m-%d')}; before: {before or 'nothing'}"
    )
    with at_commit(before) as folder:
        setup = Setup(folder, given.mangum, given.stores, given.quick)
        for name in given.rows:
            began = time.monotonic()
            ROWS[name](setup)
            print(f"{'':4}{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", formatter_class=_Plain)
    parser.add_argument("--rows", type=_one_of(ROWS), default=tuple(ROWS), help=", ".join(ROWS))
    parser.add_argument("--stores", type=_one_of(STORES), default=(), help=", ".join(STORES))
    parser.add_argument("--before", help="a commit; otherwise the last release")
    parser.add_argument("--quick", action="store_true", help="a third of the rounds")
    parser.add_argument("--mangum", default="", help="an interpreter that has Mangum 0.12.4")
    return parser.parse_args(arguments)


_Plain = argparse.RawDescriptionHelpFormatter


def _one_of(known: Mapping[str, object]) -> Callable[[str], Sequence[str]]:
    def names(text: str) -> Sequence[str]:
        given = text.split(",")
        if unknown := set(given) - known.keys():
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}; there are {', '.join(known)}")
        return given

    return names


if __name__ == "__main__":
    main()
