#!/usr/bin/env python3
"""Files of real writers, loaded and compared: what `make test-writers` runs.

    writers.py --binary B

Installs the pinned pyarrow, polars, duckdb and pandas of tests/writers/requirements.txt into a
virtual environment in the cache folder (once; that alone needs a network), has each of them write
files of every type that it has (tests/writers/write.py), loads every file into an index of its own
with B and compares the documents, value by value, with what was written. Then damages files and
looks that everything else of them is loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import cache_folder  # noqa: E402
from console import SetupError, say  # noqa: E402
from environment import ensure_environment  # noqa: E402

TESTS = Path(__file__).resolve().parent.parent / "tests" / "writers"
#: Nothing but the id is defined: everything else is kept as it is read.
DEFINITION = 'name = "{name}"\nunknown_fields = "store"\n[fields.unused]\ntype = "keyword"\n'
#: Rows of a file, and of a row group.
ROWS, GROUP = 30, 10
#: Reads the documents of an export, in the environment that has pyarrow.
READ = """
import json, sys
import pyarrow.parquet as pq
documents = {}
for row in pq.read_table(sys.argv[1]).to_pylist():
    members = row["_rest"]
    if members is None:
        document = {k: v for k, v in row.items() if v is not None and not k.startswith("_")}
    else:
        document = {}
        for member in json.loads(members):
            name, value = (member, row[member]) if isinstance(member, str) else member
            document[name] = value
    documents[row["id"]] = document
print(json.dumps(documents))
"""


class Loader:
    def __init__(self, binary: Path, python: Path, folder: Path) -> None:
        self.binary, self.python, self.folder = binary, python, folder
        self.indexes = 0

    def gleaner(self, *arguments: str) -> Dict[str, Any]:
        command = [str(self.binary), *arguments, "--data", str(self.folder / "data"), "--json"]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=str(self.folder), universal_newlines=True
        )
        if done.returncode != 0:
            raise SetupError(f"`{' '.join(command)}` failed:\n{done.stderr[-2000:]}")
        return json.loads(done.stdout)

    def load(self, *files: Path) -> "tuple[Dict[str, Any], Dict[str, Any], List[Dict[str, Any]]]":
        """The summary, the documents by their ids, and the rejects."""
        self.indexes += 1
        name = f"i{self.indexes}"
        definition = self.folder / f"{name}.toml"
        definition.write_text(DEFINITION.format(name=name), encoding="utf-8")
        self.gleaner("index", "create", str(definition))
        rejects = self.folder / f"{name}.jsonl"
        loaded = self.gleaner("ingest", name, *map(str, files), "--rejects", str(rejects), "--quiet")
        export = self.folder / f"{name}.parquet"
        self.gleaner("export", name, "--to", str(export), "--quiet")
        done = subprocess.run([str(self.python), "-c", READ, str(export)], stdout=subprocess.PIPE, check=True)
        lines = rejects.read_text(encoding="utf-8").splitlines() if rejects.exists() else []
        return loaded, json.loads(done.stdout), [json.loads(line) for line in lines]


def compare(file: str, found: Dict[str, Any], expected: Dict[str, Any]) -> List[str]:
    """What is other than it was written."""
    wrong = [f"{file}: {len(found)} documents instead of {len(expected)}"] if len(found) != len(expected) else []
    for key, document in expected.items():
        got = found.get(key, {})
        for name in sorted(set(document) | set(got)):
            if document.get(name) != got.get(name):
                wrong.append(f"{file}: {key}.{name}: {got.get(name)!r} instead of {document.get(name)!r}")
    return wrong


def damaged(loader: Loader, files: Path, expected: Dict[str, Any]) -> List[str]:
    """What goes wrong with damaged files beside a whole one."""
    wrong = []
    source = files / "pyarrow_checksums.parquet"
    bytes_ = bytearray(source.read_bytes())
    whole = loader.folder / "whole.parquet"
    shutil.copy(source, whole)
    # Somewhere in the middle, which is in the second row group; the checksum of its page tells.
    broken = loader.folder / "broken.parquet"
    end = len(bytes_) - int.from_bytes(bytes_[-8:-4], "little") - 8
    for at in range(end // 2, end // 2 + 16):
        bytes_[at] ^= 0xFF
    broken.write_bytes(bytes_)
    _, found, rejects = loader.load(broken)
    lost = sum(reject.get("rows", 1) for reject in rejects)
    if len(found) + lost != ROWS or not 0 < lost <= GROUP:
        wrong.append(f"a damaged row group: {len(found)} documents, {lost} rejected")
    if not rejects or any("row_group" not in reject for reject in rejects):
        wrong.append(f"a damaged row group is not told: {rejects}")
    for name, bytes_ in (
        ("cut.parquet", source.read_bytes()[: len(source.read_bytes()) // 2]),
        ("footer.parquet", source.read_bytes()[:-40] + bytes(32) + source.read_bytes()[-8:]),
        ("empty.parquet", b""),
    ):
        path = loader.folder / name
        path.write_bytes(bytes_)
        loaded, found, rejects = loader.load(path, whole)
        if len(found) != ROWS or len(rejects) != 1 or "row" in rejects[0] or name not in rejects[0]["file"]:
            wrong.append(f"{name}: {len(found)} documents, rejects {rejects}")
    # Without its end an Arrow file is the stream that it is up to there.
    arrow = loader.folder / "cut.arrow"
    bytes_ = (files / "pyarrow.arrow").read_bytes()
    arrow.write_bytes(bytes_[: len(bytes_) * 4 // 5])
    _, found, rejects = loader.load(arrow)
    if len(found) % GROUP or not found or len(rejects) != 1:
        wrong.append(f"cut.arrow: {len(found)} documents, rejects {rejects}")
    return wrong


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True)
    options = parser.parse_args(arguments)
    python = ensure_environment("writers", cache_folder(os.environ) / "writers-venv", TESTS / "requirements.txt")
    with tempfile.TemporaryDirectory(prefix="gleaner-writers-") as temporary:
        folder = Path(temporary)
        files = folder / "files"
        files.mkdir()
        if subprocess.run([str(python), str(TESTS / "write.py"), str(files)]).returncode != 0:
            raise SetupError("a writer failed; its message is above")
        expected = json.loads((files / "expected.json").read_text(encoding="utf-8"))
        loader = Loader(options.binary.resolve(), python, folder)
        wrong = []
        for name, documents in expected.items():
            loaded, found, rejects = loader.load(files / name)
            wrong += compare(name, found, documents)
            wrong += [f"{name}: rejected: {reject}" for reject in rejects[:3]]
        wrong += damaged(loader, files, expected)
    for line in wrong[:50]:
        print(line, file=sys.stderr)
    if wrong:
        raise SetupError(f"{len(wrong)} differences")
    say("writers", f"{len(expected)} files are loaded as they were written")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SetupError as error:
        print(f"writers: {error}", file=sys.stderr)
        sys.exit(1)
