#!/usr/bin/env python3
"""How much of what its SQL needs is kept of a schema for a question: `make eval-schema`.

Runs `gleaner eval schema` on the development questions of Spider, of Spider with synonyms and of
BIRD, in every mode and with parts left out, prints a table, writes reports/eval-schema.json and,
with --markdown FILE, the tables between that file's marks.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import write_atomically  # noqa: E402
from console import SetupError, fail  # noqa: E402
from measure import bench_data  # noqa: E402
from run import PROGRAM, PROJECT, installed  # noqa: E402

BEGIN, END = "<!-- eval-schema:begin -->", "<!-- eval-schema:end -->"


class Collection(NamedTuple):
    name: str
    questions: str
    tables: str
    meanings: str


COLLECTIONS = (
    Collection("Spider dev", "spider/dev.json", "spider/tables.json", ""),
    Collection("Spider-Syn dev", "spider/spider_syn_dev.json", "spider/tables.json", ""),
    Collection("BIRD dev", "bird/dev.json", "bird/dev_tables.json", "bird/dev_column_meaning.json"),
)

#: What is run, and with which arguments.
WAYS: Mapping[str, List[str]] = {
    "words, 15 columns": ["--method", "words", "--top", "15"],
    "vectors, 15 columns": ["--method", "vectors", "--top", "15"],
    "trained, minimal": ["--mode", "minimal"],
    "trained, balanced": ["--mode", "balanced"],
    "trained, balanced, nothing added": ["--mode", "balanced", "--bare"],
    "trained, balanced, no cross-encoder": ["--mode", "balanced", "--linker", ""],
    "trained, conservative": ["--mode", "conservative"],
    "all, if within 1,024 tokens": ["--strategy", "auto", "--budget", "1024"],
    "all": ["--strategy", "full"],
}


def measure(program: Path, data: Path, collection: Collection, more: List[str]) -> Dict[str, Any]:
    command = [str(program), "eval", "schema", "--json", "--questions", str(data / collection.questions)]
    command += ["--tables", str(data / collection.tables), *more]
    if collection.meanings:
        command += ["--meanings", str(data / collection.meanings)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, universal_newlines=True)
    if done.returncode != 0:
        raise SetupError(f"the evaluation ended with status {done.returncode}; its message is above")
    return json.loads(done.stdout)


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def tables(found: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of all ways, one by the number of tables, and one of the curve."""
    lines: List[str] = []
    for collection, ways in found.items():
        count = next(iter(ways.values()))["questions"]
        lines += [f"**{collection}**, {count} questions", ""]
        lines += ["| | SRR % | NSR % | tables | columns | tokens saved % |", "|---|---|---|---|---|---|"]
        for way, report in ways.items():
            saved = percent(report["prompts"]["saved"]) if report["prompts"]["tokenizer"] else "-"
            figures = [percent(report["srr"]), percent(report["nsr"])]
            figures += [f"{report['avg_tables']:.2f}", f"{report['avg_columns']:.2f}", saved]
            lines.append(f"| {way} | {' | '.join(figures)} |")
        balanced = ways["trained, balanced"]
        lines += ["", "Balanced, by the number of tables that the SQL uses:", ""]
        lines += ["| tables | questions | SRR % | NSR % | columns |", "|---|---|---|---|---|"]
        for number, part in balanced["by_gold_tables"].items():
            figures = [str(part["questions"]), percent(part["srr"]), percent(part["nsr"]), f"{part['avg_columns']:.2f}"]
            lines.append(f"| {number} | {' | '.join(figures)} |")
        lines += ["", "The curve, by the least probability that is kept:", ""]
        lines += ["| least | SRR % | columns |", "|---|---|---|"]
        for point in balanced["curve"]:
            if point["by"] == "threshold":
                lines.append(f"| {point['value']:.3g} | {percent(point['srr'])} | {point['avg_columns']:.2f} |")
        for kind in ("table", "column"):
            shares = [f"@{k} {percent(share)}" for k, share in balanced[f"{kind}_coverage"].items()]
            lines += ["", f"Coverage of {kind}s, %: {', '.join(shares)}."]
        lines += ["", f"SQL that could not be read: {len(balanced['unread'])}.", ""]
    return "\n".join(lines)


def into(file: Path, text: str) -> None:
    page = file.read_text(encoding="utf-8")
    if BEGIN not in page or END not in page:
        raise SetupError(f"{file} has no marks {BEGIN} and {END}")
    before, rest = page.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    file.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="eval_schema.py", description=__doc__.split("\n")[0])
    parser.add_argument("--markdown", type=Path, help="write the tables into this file, between its marks")
    parser.add_argument("--program", type=Path, help="the program [default: bin/gleaner]")
    options = parser.parse_args()
    data = bench_data(os.environ)
    if data is None:
        return
    data = data / "sql"
    if not data.is_dir():
        print(f"skipped: {data} is missing")
        return
    try:
        program = options.program or installed(PROGRAM)
        started = time.monotonic()
        found: Dict[str, Dict[str, Any]] = {}
        for collection in COLLECTIONS:
            for way, more in WAYS.items():
                found.setdefault(collection.name, {})[way] = measure(program, data, collection, more)
                report = found[collection.name][way]
                print(
                    f"{collection.name:15} {way:36} SRR {percent(report['srr']):>5}  NSR {percent(report['nsr']):>5}"
                    f"  tables {report['avg_tables']:5.2f}  columns {report['avg_columns']:6.2f}",
                    flush=True,
                )
        reports = PROJECT / "reports"
        reports.mkdir(exist_ok=True)
        report = {"seconds": round(time.monotonic() - started), "collections": found}
        write_atomically(reports / "eval-schema.json", json.dumps(report, indent=1) + "\n")
        if options.markdown:
            into(options.markdown, tables(found))
    except SetupError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
