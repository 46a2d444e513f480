"""How much of what users can import has a type that every checker sees in the same way.

python .ci/completeness.py [PERCENT]: exits with 1 if a package of ours has less (98). Where pyright
cannot run, since there is no Node.js and none to be had, that is said, and no error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("longwire", "longwire_backends", "longwire_aws")


def main(least: float) -> int:
    failed = False
    for package in PACKAGES:
        found = _report(package)
        if found is None:
            sys.stdout.write("completeness of types: not checked, since pyright cannot run here\n")
            return 0
        score = 100 * found["completenessScore"]
        sys.stdout.write(f"completeness of types: {package} {score:.1f} %\n")
        if score < least:
            failed = True
            for symbol in found["symbols"]:
                for problem in symbol["diagnostics"]:
                    text = problem["message"].splitlines()[0]
                    sys.stdout.write(f"  {symbol['name']}: {text}\n")
    return int(failed)


def _report(package: str) -> dict | None:
    # Our folders where an installed package would be: pyright does not follow an editable one.
    path = os.pathsep.join(str(ROOT / folder) for folder in ("adapter", "backends"))
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pyright", "--pythonpath", sys.executable),
            *("--verifytypes", package, "--ignoreexternal", "--outputjson"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    try:
        return json.loads(run.stdout[run.stdout.index("{") :])["typeCompleteness"]
    except (ValueError, KeyError):
        return None


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 98))
