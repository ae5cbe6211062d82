#!/usr/bin/env python3
"""The Python package checked and tested against the server.

    check_client.py [--binary B] [--skip-checks] [PYTEST-ARGUMENT...]

Installs what clients/python/requirements-test.txt pins into a virtual environment in the cache folder
(once; that alone needs a network), checks style and types, builds the package, and runs its tests,
which start B (`bin/gleaner` otherwise) on ports and in folders of their own. The standard tests of
LangChain and Haystack are among them. Further arguments go to pytest: `-k streams`, for one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import List

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import cache_folder  # noqa: E402
from console import SetupError, fail, say  # noqa: E402
from environment import ensure_environment  # noqa: E402
from setup import PROJECT  # noqa: E402

PACKAGE = PROJECT / "clients" / "python"
#: What the environment takes, in bytes.
SPACE = 1_500_000_000


def check(python: Path) -> List[str]:
    """The checks that fail."""
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        checks = {
            "style": ["ruff", "check", "--quiet", "."],
            "format": ["ruff", "format", "--quiet", "--check", "."],
            "types": ["mypy"],
            "build": ["build", "--quiet", "--no-isolation", "--outdir", temporary],
        }
        for name, command in checks.items():
            say("client", name)
            if subprocess.run([str(python), "-m", *command], cwd=str(PACKAGE)).returncode != 0:
                failed.append(name)
    return failed


def run(binary: Path, skip_checks: bool, arguments: List[str]) -> None:
    requirements = PACKAGE / "requirements-test.txt"
    python = ensure_environment("client", cache_folder(os.environ) / "client-venv", requirements, SPACE)
    failed = [] if skip_checks else check(python)
    say("client", "tests")
    environment = {**os.environ, "GLEANER_BINARY": str(binary)}
    environment.setdefault("GLEANER_MODELS", str(cache_folder(os.environ) / "models"))
    command = [str(python), "-m", "pytest", *arguments]
    if subprocess.run(command, cwd=str(PACKAGE), env=environment).returncode != 0:
        failed.append("tests")
    if failed:
        raise SetupError(f"failed: {', '.join(failed)}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="check_client.py", description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, default=PROJECT / "bin" / "gleaner")
    parser.add_argument("--skip-checks", action="store_true", help="tests alone")
    options, arguments = parser.parse_known_args()
    try:
        run(options.binary.absolute(), options.skip_checks, arguments)
    except SetupError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
