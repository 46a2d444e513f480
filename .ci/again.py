"""Run the tests, and ask one that failed beside ten thousand others once more, alone; and name it.

Servers, browsers and processes by the hundred share a few cores there, so one of them may miss a
deadline. A test that fails alone, too, or a fourth one, fails the run.
"""

import json
import subprocess
import sys
from pathlib import Path

TESTS_FAILED = 1  # pytest's exit code; others mean a run that did not come to its end
AT_MOST = 3


def main(pytest: list[str]) -> int:
    """Run pytest, which has emptied its cache before; return its exit code, or the second's."""
    ended = subprocess.run(pytest).returncode
    if ended != TESTS_FAILED or len(failed := _failed()) > AT_MOST:
        return ended
    for test in failed:
        sys.stderr.write(f"failed beside the others, asked again alone: {test}\n")
    return subprocess.run([sys.executable, "-m", "pytest", "-n", "0", *failed]).returncode


def _failed() -> list[str]:
    text = Path(".pytest_cache/v/cache/lastfailed").read_text(encoding="utf-8")
    return list(json.loads(text))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
