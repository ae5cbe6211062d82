"""Fits the combination with a cross-encoder: features of every training question, with what the run
says of it that has not seen its database; then linkers/combine.py.

    python -m linkers.stack RUNS --binary bin/gleaner --base BASE --out src/sql/link/combination-cross.json.gz
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import List

from encoders import place

from .__main__ import SETS, main as linkers

#: Of each set its databases.
TABLES = {"spider": ["sql/spider/tables.json"], "bird": ["sql/bird/train_tables.json", "sql/bird/train_column_meaning.json"]}
#: The run that is asked about each part: held-out databases none has seen, and the first is shipped.
ASKED = {"0": "without-0", "1": "without-1", "held": "without-0"}


def call(*command: object) -> None:
    print(" ".join(map(str, command)), flush=True)
    subprocess.run([str(part) for part in command], check=True)


def features(binary: Path, models: Path, split: Path, out: Path) -> List[Path]:
    found = []
    for part, run in ASKED.items():
        for name in SETS:
            tables, *meanings = TABLES.get(name, TABLES["spider"])
            more = [part for file in meanings for part in ("--meanings", place.data() / file)]
            folder = out / f"{name}-{part}"
            call(
                binary, "--models-dir", models, "eval", "schema", "--questions", split / f"{name}-{part}.json",
                "--tables", place.data() / tables, *more, "--linker", run, "--features", folder,
            )  # fmt: skip
            found.append(folder)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="the folder with the runs `without-0` and `without-1`")
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True, help="the weights whose embeddings the runs share")
    parser.add_argument("--encoder", type=Path, help="the encoder's layers [default: models/gleaner-minilm]")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    work = options.runs / "stack"
    models = work / "models"
    encoder = options.encoder or Path(__file__).resolve().parents[2] / "models" / "gleaner-minilm"
    for name, source in [("gleaner-minilm", encoder), *((run, work / run) for run in sorted(set(ASKED.values())))]:
        if source != encoder:
            linkers(["export", "--out", str(options.runs / name), "--to", str(source)])
        call(options.binary, "models", "add", source, "--name", name, "--base", options.base, "--into", models, "--replace")
    linkers(["split", "--to", str(work / "split")])
    folders = features(options.binary, models, work / "split", work / "features")
    call(sys.executable, "-m", "linkers.combine", *folders, "--out", options.out, "--held-out", work / "held-out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
