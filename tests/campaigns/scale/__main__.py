"""`python -m tests.campaigns.scale`: what happens at scale, in simulated time.

    python -m tests.campaigns.scale --seed 1 --most 10000
    python -m tests.campaigns.scale --table everybody --into docs/large-groups.md

The same seed gives the same tables. A million members take some minutes.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.campaigns.scale import report


def main(arguments: list[str] | None = None) -> int:
    """Print the tables, and write them into a page if one is named."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.scale")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=int, default=report.SIZES[-1], help="members, at most")
    names = [table.name for table in report.TABLES]
    parser.add_argument("--table", action="append", choices=names, help="of these alone")
    parser.add_argument("--into", type=Path, help="a page that has marks for the tables")
    options = parser.parse_args(arguments)
    if options.most < report.SIZES[0]:
        parser.error(f"--most: expected at least {report.SIZES[0]:,}")
    tables = [each for each in report.TABLES if not options.table or each.name in options.table]
    if options.into:
        _check(parser, options.into, tables)
    for table in tables:
        print(f"\n{report.mark(table.name)}\n")
        rows = []
        for row in table.rows(options.seed, options.most):
            rows.append(row)
            print(" | ".join(row), flush=True)
        if options.into:
            page = report.put_into(
                options.into.read_text(encoding="utf-8"), table.name, report.shown(table, rows)
            )
            options.into.write_text(page, encoding="utf-8")
    return 0


def _check(parser: argparse.ArgumentParser, page: Path, tables: list[report.Table]) -> None:
    """End with a message, before minutes were spent, if the page has no place for a table."""
    try:
        text = page.read_text(encoding="utf-8")
        for table in tables:
            report.put_into(text, table.name, "")
    except (OSError, ValueError) as error:
        parser.error(f"--into: {error}")


if __name__ == "__main__":
    sys.exit(main())
