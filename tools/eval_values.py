#!/usr/bin/env python3
"""What cell values bring, and how often the database of a question is found among all.

`make eval-values` makes SQLite databases with cells (tools/value_databases.py) and measures what is
kept of them without values, with those that stand in prompts, and with those that questions are
searched for. `make eval-which` asks all databases of Spider the questions of those training
databases that nothing was fitted on, and the development questions. Both write the tables of
docs/schemas.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parent))

import value_databases  # noqa: E402
from cache import write_atomically  # noqa: E402
from console import SetupError, fail  # noqa: E402
from eval_schema import percent  # noqa: E402
from measure import bench_data  # noqa: E402
from run import PROGRAM, PROJECT, installed  # noqa: E402

#: Which cells are used, by what the table calls it.
CELLS = {"no values": "none", "frequent values": "frequent", "and searched values": "all"}


def evaluate(program: Path, arguments: List[str]) -> Dict[str, Any]:
    command = [str(program), "eval", "schema", "--json", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, universal_newlines=True)
    if done.returncode != 0:
        raise SetupError(f"the evaluation ended with status {done.returncode}; its message is above")
    return json.loads(done.stdout)


def held_out(database: str) -> bool:
    """As training/linkers/schema.py has it: one database in five, by the hash of its name."""
    return hashlib.sha256(database.encode("utf-8")).digest()[0] % 5 == 0


def values(program: Path) -> str:
    lines = ["| databases | mode | cells | SRR % | NSR % | columns |", "|---|---|---|---|---|---|"]
    report: Dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        value_databases.make(Path(folder))
        for part in ("choose", "report"):
            for mode in ("minimal", "balanced"):
                for name, cells in CELLS.items():
                    found = evaluate(program, [
                        "--sqlite", folder, "--questions", f"{folder}/{part}.json", "--cells", cells, "--mode", mode,
                    ])  # fmt: skip
                    report[f"{part} {mode} {cells}"] = found
                    figures = [percent(found["srr"]), percent(found["nsr"]), f"{found['avg_columns']:.2f}"]
                    lines.append(f"| {part} ({found['questions']} questions) | {mode} | {name} | {' | '.join(figures)} |")
                    print(lines[-1], flush=True)
    save("eval-values", report)
    return "\n".join(lines)


def which(program: Path, data: Path) -> str:
    spider = data / "sql" / "spider"
    lines = ["| questions | databases | | first % | first 3 % | first 5 % |", "|---|---|---|---|---|---|"]
    report: Dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        train = json.loads((spider / "train.json").read_text(encoding="utf-8"))
        held = Path(folder) / "held.json"
        rows = train.values() if isinstance(train, dict) else train
        held.write_text(json.dumps([row for row in rows if held_out(row["db_id"])]), encoding="utf-8")
        for name, questions in (("Spider train, held out", held), ("Spider dev", spider / "dev.json")):
            found = evaluate(program, [
                "--which", "--linker", "", "--questions", str(questions), "--tables", str(spider / "tables.json"),
            ])  # fmt: skip
            report[name] = found
            for way, title in (("compared", "compared"), ("linked", f"and the best {found['candidates']} linked")):
                shares = [percent(found[way][key]) for key in ("first", "first_3", "first_5")]
                lines.append(f"| {name} ({found['questions']}) | {found['databases']} | {title} | {' | '.join(shares)} |")
                print(lines[-1], flush=True)
    save("eval-which", report)
    return "\n".join(lines)


def save(name: str, report: Dict[str, Any]) -> None:
    reports = PROJECT / "reports"
    reports.mkdir(exist_ok=True)
    write_atomically(reports / f"{name}.json", json.dumps(report, indent=1) + "\n")


def into(file: Path, name: str, text: str) -> None:
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    page = file.read_text(encoding="utf-8")
    if begin not in page or end not in page:
        raise SetupError(f"{file} has no marks {begin} and {end}")
    before, rest = page.split(begin, 1)
    after = rest.split(end, 1)[1]
    file.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="eval_values.py", description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["values", "which"])
    parser.add_argument("--markdown", type=Path, help="write the table into this file, between its marks")
    parser.add_argument("--program", type=Path, help="the program [default: bin/gleaner]")
    options = parser.parse_args()
    try:
        program = options.program or installed(PROGRAM)
        if options.what == "values":
            text = values(program)
        else:
            data = bench_data(os.environ)
            if data is None:
                return
            text = which(program, data)
        if options.markdown:
            into(options.markdown, f"eval-{options.what}", text)
    except (SetupError, sqlite3.Error) as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
