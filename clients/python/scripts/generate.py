#!/usr/bin/env python3
"""Writes what is not written by hand.

    generate.py --openapi FILE [--check]

* `types.py`: a `TypedDict` or an alias for each schema of the server's description
  (`GET /openapi.json`), by datamodel-code-generator;
* `_operations.py`: method, address and parameters of each of its operations;
* `_sync/`: the clients that wait, out of `_async/` with the keywords taken away, by unasync.

With `--check` nothing is written, and the exit status says whether what is there is the same.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import unasync

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "gleaner_client"
#: Names that say more than those of the description, where it has two things of one name.
NAMES = {
    "Embedding": "EmbeddingDefinition",
    "Embedding2": "EncodedText",
    "Mode2": "SchemaMode",
    "Place2": "JobPlace",
    "SearchResult1": "SearchFailure",
    "Format": "FileFormat",
    "Task": "EncodingTask",
    "Values": "EncodedValues",
    "Database": "SchemaDatabase",
    "Entry": "SchemaEntry",
    "Focus": "SchemaFocus",
    "Mapping": "JobMapping",
    "Table": "SchemaTable",
    "Column": "SchemaColumn",
}
#: What is called otherwise where nothing is awaited.
SYNC = {
    "AsyncClient": "Client",
    "AsyncConnectionPool": "ConnectionPool",
    "AsyncHTTPTransport": "HTTPTransport",
    "AsyncIterable": "Iterable",
    "AsyncIterator": "Iterator",
    "AsyncNetworkBackend": "NetworkBackend",
    "AsyncNetworkStream": "NetworkStream",
    "AsyncResponseStream": "ResponseStream",
    "AsyncRetrying": "Retrying",
    "AutoBackend": "SyncBackend",
    "MaybeAsyncIterable": "PlainIterable",
    "AnyIOBackend": "SyncBackend",
    "StopAsyncIteration": "StopIteration",
    "asynccontextmanager": "contextmanager",
    "aclose": "close",
    "aiter_bytes": "iter_bytes",
    "aiter_lines": "iter_lines",
    "aiterate": "iterate",
    "aread": "read",
    "asleep": "sleep",
    "_async": "_sync",
}
#: The same inside of texts, where unasync changes nothing.
IN_TEXTS = {
    "async with AsyncClient(": "with Client(",
    "= await client.": "= client.",
    "The client for asyncio and trio.": "The client that waits.",
    "an iterable (or an asynchronous one)": "an iterable",
    "used by many tasks (or threads) at once": "used by many threads at once",
}
TYPES_HEADER = '''"""What the server takes and answers.

Written by `scripts/generate.py` of the server's description. Members without `NotRequired` are always there in answers, and have to be there in requests.
"""

'''
OPERATIONS_HEADER = '''"""What the server does; written by `scripts/generate.py` of its description."""

from __future__ import annotations

from typing import NamedTuple


class Operation(NamedTuple):
    """How an operation is asked for."""

    method: str
    path: str
    #: Parameters of the address.
    query: tuple[str, ...]
    #: Whether a request may carry an `idempotency-key`.
    takes_key: bool


OPERATIONS = {
'''


def types(openapi: Path, folder: Path) -> str:
    made = folder / "types.py"
    names = folder / "names.json"
    names.write_text(json.dumps(NAMES), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "datamodel_code_generator",
        "--input",
        str(openapi),
        "--output",
        str(made),
    ]
    command += ["--input-file-type", "openapi", "--output-model-type", "typing.TypedDict"]
    command += ["--target-python-version", "3.10", "--no-use-union-operator", "--no-use-closed-typed-dict"]
    command += ["--use-schema-description", "--use-field-description", "--disable-timestamp"]
    command += ["--formatters", "builtin", "--enum-field-as-literal", "all"]
    command += ["--model-name-map", str(names)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    text = made.read_text(encoding="utf-8")
    text = re.sub(r"\A(#.*\n)+\n*", "", text)
    # What Python 3.9 has elsewhere.
    text = re.sub(
        r"^from typing import .*\n", "from typing import Any, Literal, Optional, Union\n", text, flags=re.M
    )
    text = re.sub(
        r"^from typing_extensions import .*\n",
        "from typing_extensions import NotRequired, TypeAlias, TypedDict\n",
        text,
        flags=re.M,
    )
    return TYPES_HEADER + text


def operations(openapi: dict[str, Any]) -> str:
    lines = []
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            if path == "/mcp":
                continue
            parameters = [parameter for parameter in operation.get("parameters", [])]
            query = tuple(p["name"] for p in parameters if p["in"] == "query")
            takes_key = any(p["name"] == "idempotency-key" for p in parameters)
            entry = f"Operation({method.upper()!r}, {path!r}, {query!r}, {takes_key!r})"
            lines.append(f"    {operation['operationId']!r}: {entry},\n")
    return OPERATIONS_HEADER + "".join(sorted(lines)) + "}\n"


def sync(folder: Path) -> dict[str, str]:
    source, target = PACKAGE / "_async", folder / "_sync"
    rule = unasync.Rule(fromdir="/_async/", todir="/_sync/", additional_replacements=SYNC)
    copied = folder / "_async"
    copied.mkdir()
    for file in sorted(source.glob("*.py")):
        (copied / file.name).write_bytes(file.read_bytes())
    unasync.unasync_files([str(file) for file in sorted(copied.glob("*.py"))], rules=[rule])
    made = {}
    for file in sorted(target.glob("*.py")):
        text = file.read_text(encoding="utf-8")
        text = text.replace("# Edit this file;", "# Written by scripts/generate.py of")
        text = text.replace("its twin in `_sync` is written by scripts/generate.py.", "its twin in `_async`.")
        for awaited, plain in IN_TEXTS.items():
            text = text.replace(awaited, plain)
        made[f"_sync/{file.name}"] = text
    return made


def formatted(name: str, text: str) -> str:
    for command in (["check", "--quiet", "--fix-only"], ["format", "--quiet"]):
        config = ["--config", str(PACKAGE.parent.parent / "pyproject.toml")]
        ruff = [sys.executable, "-m", "ruff", *command, *config, "--stdin-filename", str(PACKAGE / name), "-"]
        done = subprocess.run(ruff, input=text, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{name}: {done.stderr}")
        text = done.stdout
    return text


def generate(openapi: Path | None) -> dict[str, str]:
    """What each file has to hold; without a description, the files that need none."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made = sync(folder)
        if openapi is not None:
            made["types.py"] = types(openapi, folder)
            made["_operations.py"] = operations(json.loads(openapi.read_text(encoding="utf-8")))
    return {name: formatted(name, text) for name, text in made.items()}


def stale(openapi: Path | None) -> list[str]:
    """Files that are not what they would be now."""
    made = generate(openapi)
    return [
        name
        for name, text in made.items()
        if not (PACKAGE / name).is_file() or (PACKAGE / name).read_text(encoding="utf-8") != text
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="generate.py", description=__doc__.split("\n")[0])
    parser.add_argument("--openapi", type=Path, help="the description; without it, `_sync` alone")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.check:
        names = stale(options.openapi)
        if names:
            raise SystemExit(f"not current: {', '.join(names)}")
        return
    for name, text in generate(options.openapi).items():
        (PACKAGE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
