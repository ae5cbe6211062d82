#!/usr/bin/env python3
"""The console in a real browser: what `make check-console` runs.

    check_console.py --binary B [--only NAME...] [--screenshots DIR]
    check_console.py --base URL [--key KEY] [--only NAME...] [--screenshots DIR]

Installs the pinned packages of tests/console/requirements.txt into a virtual environment in the
cache folder (once; that alone needs a network), loads the samples into a data folder of its own,
serves them with B, and runs tests/console in Debian's `chromium`, or the browser that --chromium
names. With --base the console of a server that runs already is used: it has to have the samples,
and its `ingest.sources` has to name sample/. With --screenshots pictures are made, and no tests run.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import cache_folder  # noqa: E402
from check_api import wait_until_ready  # noqa: E402
from clients import serve  # noqa: E402
from console import SetupError, fail, say  # noqa: E402
from environment import ensure_environment  # noqa: E402
from setup import PROJECT  # noqa: E402

TESTS = PROJECT / "tests" / "console"
REQUIREMENTS = TESTS / "requirements.txt"
SAMPLE = PROJECT / "sample"
#: What is searched as code: a folder that hardly takes time to encode.
CODE = PROJECT / "src" / "search"
BROWSERS = ["chromium", "chromium-browser", "google-chrome"]


def find_browser(named: Optional[str]) -> str:
    for name in [named] if named else BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    raise SetupError(f"there is no browser ({named or ', '.join(BROWSERS)}): install Debian's package `chromium`, or name one with --chromium")


def load(binary: Path, folder: Path) -> None:
    """An index of documents, one of code, a database and a catalog."""
    (folder / "models").mkdir()
    (folder / "config.toml").write_text(f'[ingest]\nsources = ["{SAMPLE}"]\n', encoding="utf-8")
    database = folder / "shop.sqlite"
    make = [sys.executable, str(PROJECT / "examples" / "assistant" / "make_shop.py"), str(database)]
    commands: List[List[str]] = [make]
    for arguments in (
        ["index", "create", str(PROJECT / "indexes" / "articles.toml")],
        ["ingest", "articles", str(SAMPLE / "articles.jsonl"), "--quiet"],
        ["ingest", "code", "--code", str(CODE), "--repository", "gleaner", "--create", "--quiet"],
        ["schema", "import", "shop", "--sqlite", str(database)],
        ["entities", "build", "sample", "--names", str(SAMPLE / "entities.jsonl")],
    ):
        commands.append([str(binary), *arguments])
    environment = {**os.environ, "GLEANER_DATA": str(folder / "data"), "GLEANER_CONFIG": str(folder / "config.toml")}
    for command in commands:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, cwd=str(folder), env=environment)
        if done.returncode != 0:
            raise SetupError(f"`{' '.join(command)}` failed:\n{done.stdout[-2000:]}")


def drive(python: Path, environment: Dict[str, str], only: List[str], screenshots: Optional[Path]) -> None:
    if screenshots:
        command = [str(python), str(TESTS / "screenshots.py"), str(screenshots)]
    else:
        command = [str(python), str(TESTS / "test_console.py"), "-v", *[part for name in only for part in ("-k", name)]]
    if subprocess.run(command, cwd=str(TESTS), env={**os.environ, **environment}).returncode != 0:
        raise SetupError("the console is not as it should be; what failed is above")


def run(options: argparse.Namespace) -> None:
    chromium = find_browser(options.chromium)
    python = ensure_environment("console", cache_folder(os.environ) / "console-venv", REQUIREMENTS)
    environment = {"CONSOLE_CHROMIUM": chromium, "CONSOLE_LOADS": str(SAMPLE / "articles.jsonl")}
    screenshots = options.screenshots.absolute() if options.screenshots else None
    if options.base:
        environment.update(CONSOLE_URL=options.base, CONSOLE_KEY=options.key)
        drive(python, environment, options.only, screenshots)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        say("console", "loading the samples")
        load(options.binary.absolute(), folder)
        key = secrets.token_hex(32)
        os.environ["GLEANER_ADMIN_KEY"] = key
        process, url = serve(options.binary.absolute(), folder)
        try:
            wait_until_ready(url)
            drive(python, {**environment, "CONSOLE_URL": url, "CONSOLE_KEY": key}, options.only, screenshots)
        finally:
            process.terminate()
            process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(prog="check_console.py", description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, help="the program that is served")
    parser.add_argument("--base", help="where a console is served already, as http://127.0.0.1:7700")
    parser.add_argument("--key", default="", help="an administrator's key of the server of --base")
    parser.add_argument("--chromium", help="the browser")
    parser.add_argument("--only", nargs="*", default=[], help="tests whose names contain one of these")
    parser.add_argument("--screenshots", type=Path, metavar="DIR", help="make a picture of each page instead")
    options = parser.parse_args()
    if bool(options.binary) == bool(options.base):
        parser.error("either --binary or --base")
    try:
        run(options)
    except SetupError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
