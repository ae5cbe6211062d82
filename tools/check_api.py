#!/usr/bin/env python3
"""The API's description held against the server: what `make check-api` runs.

    check_api.py --binary B [--examples N] [--seed N] [--only NAME...]

Installs the pinned schemathesis of tests/api/requirements.txt into a virtual environment in the
cache folder (once; that alone needs a network), serves with B on a port of its own, and sends at
least N examples to every operation of `/openapi.json`, twice: with names that mean nothing, and with
those of an index, a database and a catalog that are there. Fails for an answer of 500 or more, and
for a status, type, body or header that is not described.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import cache_folder  # noqa: E402
from clients import serve  # noqa: E402
from console import SetupError, fail, say  # noqa: E402
from environment import ensure_environment  # noqa: E402
from setup import PROJECT  # noqa: E402

REQUIREMENTS = PROJECT / "tests" / "api" / "requirements.txt"
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]
#: What would take away what the second round needs.
REMOVING = ["deleteIndex", "deleteSchema", "deleteCatalog", "deletePermissions", "putPermissions"]
#: The name of what is there in the second round; no example has it.
KNOWN = "stock"
#: Longest wait until it is ready.
READY = 120.0


def ask(url: str, key: str, method: str, path: str, body: object) -> None:
    """A request that has to succeed."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    data = json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=60):
        pass


def fill(url: str, key: str) -> None:
    """An index with documents, a database and a catalog."""
    fields = {
        "title": {"type": "text", "required": True},
        "body": {"type": "text"},
        "section": {"type": "keyword"},
        "stars": {"type": "integer"},
        "rating": {"type": "float"},
        "published": {"type": "date"},
        "featured": {"type": "boolean"},
    }
    embedding = {"model": "gleaner-minilm", "fields": ["title", "body"]}
    ask(url, key, "POST", "/v1/indexes", {"name": KNOWN, "fields": fields, "embedding": embedding})
    documents = [
        {"id": f"n{i}", "title": f"train {i}", "body": "leaves at nine", "section": "s" * (i % 3 + 1), "stars": i % 5}
        for i in range(40)
    ]
    ask(url, key, "POST", f"/v1/indexes/{KNOWN}/documents?refresh=wait", documents)
    ddl = "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT); CREATE TABLE orders (id INTEGER, customer INTEGER REFERENCES customers(id));"
    ask(url, key, "POST", "/v1/schemas", {"name": KNOWN, "ddl": ddl})
    ask(url, key, "POST", "/v1/entities", {"name": KNOWN, "names": [{"id": "Q64", "name": "Berlin"}]})


def wait_until_ready(url: str) -> None:
    until = time.monotonic() + READY
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{url}/ready", timeout=10):
                return
        except OSError:
            time.sleep(0.5)
    raise SetupError("the service did not become ready")


def round_of(python: Path, url: str, key: str, folder: Path, arguments: List[str], settings: str) -> bool:
    config = folder / "schemathesis.toml"
    hooks = PROJECT / "tests" / "api" / "hooks.py"
    config.write_text(f'hooks = "{hooks}"\n{settings}', encoding="utf-8")
    command = [str(python), "-m", "schemathesis.cli", "--config-file", str(config)]
    command += ["run", f"{url}/openapi.json", "--checks", ",".join(CHECKS)]
    command += ["--header", f"authorization: Bearer {key}", "--continue-on-failure"]
    command += ["--request-timeout", "60", "--phases", "examples,coverage,fuzzing", "--mode", "all"]
    return subprocess.run(command + arguments, cwd=str(folder)).returncode == 0


def run(binary: Path, examples: int, seed: int, only: List[str]) -> None:
    python = ensure_environment("api", cache_folder(os.environ) / "api-venv", REQUIREMENTS)
    key = secrets.token_hex(32)
    arguments = ["--max-examples", str(examples), "--seed", str(seed)]
    for name in only:
        arguments += ["--include-operation-id", name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "models").mkdir()
        os.environ["GLEANER_ADMIN_KEY"] = key
        process, url = serve(binary, folder)
        ok: Dict[str, bool] = {}
        try:
            wait_until_ready(url)
            say("api", "names that mean nothing")
            ok["any names"] = round_of(python, url, key, folder, arguments, "")
            fill(url, key)
            say("api", "names of what is there")
            excluded = arguments + [part for name in REMOVING for part in ("--exclude-operation-id", name)]
            settings = f'[parameters]\n"path.name" = "{KNOWN}"\n'
            ok["known names"] = round_of(python, url, key, folder, excluded, settings)
            ended = process.poll()
        finally:
            process.terminate()
            process.wait(60)
        if ended is not None:
            raise SetupError(f"the service ended with {ended}:\n{(folder / 'log').read_text(errors='replace')[-3000:]}")
        failed = [name for name, passed in ok.items() if not passed]
        if failed:
            raise SetupError(f"the description does not hold: {', '.join(failed)}; the failures are above")
    say("api", f"every operation answered as described, {examples} examples each, twice")


def main() -> None:
    parser = argparse.ArgumentParser(prog="check_api.py", description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[], help="names of operations")
    options = parser.parse_args()
    try:
        run(options.binary.absolute(), options.examples, options.seed, options.only)
    except SetupError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
