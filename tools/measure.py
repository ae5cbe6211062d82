#!/usr/bin/env python3
"""Long checks on real collections: what `make bench-*` and `make eval-*` run.

Each finds its data through GLEANER_BENCH_DATA and skips with a message where that
is missing, prints a table for people and writes reports/NAME.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, List, Mapping, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import write_atomically  # noqa: E402
from console import SetupError, duration, fail  # noqa: E402
from run import PROGRAM, PROJECT, installed  # noqa: E402

MEASURES = ["ndcg@10", "recall@100", "mrr@10"]


def bench_data(environment: Mapping[str, str]) -> Optional[Path]:
    named = environment.get("GLEANER_BENCH_DATA")
    if named and Path(named).is_dir():
        return Path(named).absolute()
    found = (
        f"GLEANER_BENCH_DATA is {named}, which is not a folder" if named else "GLEANER_BENCH_DATA is not set"
    )
    print(f"skipped: {found}; it names the folder of collections to measure on (docs/setup.md)")
    return None


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["  ".join(["mode".ljust(10)] + [name.rjust(10) for name in MEASURES])]
    for mode, measures in rows.items():
        values = [f"{measures[name]:.4f}" if name in measures else "-" for name in MEASURES]
        lines.append("  ".join([mode.ljust(10)] + [value.rjust(10) for value in values]))
    return "\n".join(lines)


def evaluate(data: Path, collection: str, split: str) -> None:
    folder = data / "retrieval" / collection
    if not folder.is_dir():
        print(f"skipped: {folder} is missing")
        return
    reports = PROJECT / "reports"
    command = [str(installed(PROGRAM)), "eval", "retrieval", "--beir", str(folder), "--split", split]
    command += ["--run-dir", str(reports / f"runs-{collection}"), "--json"]
    reports.mkdir(exist_ok=True)
    started = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, universal_newlines=True)
    if done.returncode != 0:
        raise SetupError(f"the evaluation ended with status {done.returncode}; its message is above")
    result = json.loads(done.stdout)
    print(
        f"{collection} ({split}): {result['documents']} documents, {result['queries']} queries, "
        f"{duration(time.monotonic() - started)}"
    )
    print(table(result["modes"]))
    report = reports / f"eval-{collection}.json"
    write_atomically(
        report, json.dumps({"collection": collection, "split": split, **result}, indent=2) + "\n"
    )
    print(f"written: {report.relative_to(PROJECT)}")


def bench(data: Path, name: str) -> None:
    """The bench prints its own table and writes its own report."""
    if not (PROJECT / "benches" / f"{name}.rs").is_file():
        raise SetupError(f"benches/{name}.rs does not exist yet")
    environment = {**os.environ, "GLEANER_BENCH_DATA": str(data)}
    command: List[str] = ["cargo", "bench", "--locked", "--bench", name]
    status = subprocess.run(command, cwd=str(PROJECT), env=environment).returncode
    if status != 0:
        raise SetupError(f"the benchmark ended with status {status}; its message is above")


def executable(name: str) -> str:
    """Builds the bench NAME and says where it is."""
    command = ["cargo", "bench", "--locked", "--bench", name, "--no-run", "--message-format=json"]
    done = subprocess.run(command, cwd=str(PROJECT), stdout=subprocess.PIPE, universal_newlines=True)
    if done.returncode != 0:
        raise SetupError(f"the benchmark {name} cannot be built; the message is above")
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == name:
            return str(message["executable"])
    raise SetupError(f"cargo built no benchmark {name}")


def vectors(data: Path, arguments: List[str]) -> None:
    """The comparison of vector engines: this project's is the bench `vectors`."""
    environment = {**os.environ, "GLEANER_BENCH_DATA": str(data)}
    command = [sys.executable, str(PROJECT / "tools" / "bench_vectors.py"), *arguments]
    status = subprocess.run(
        [*command, "--ours", executable("vectors")], cwd=str(PROJECT), env=environment
    ).returncode
    if status != 0:
        raise SetupError(f"the benchmark ended with status {status}; its message is above")


def main() -> None:
    parser = argparse.ArgumentParser(prog="measure.py", description=__doc__.split("\n")[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("bench").add_argument("name")
    # What follows is for bench_vectors.py.
    kinds.add_parser("vectors", add_help=False)
    evaluation = kinds.add_parser("eval")
    evaluation.add_argument("collection")
    evaluation.add_argument("--split", default="test")
    options, others = parser.parse_known_args()
    if others and options.kind != "vectors":
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    data = bench_data(os.environ)
    if data is None:
        return
    try:
        if options.kind == "bench":
            bench(data, options.name)
        elif options.kind == "vectors":
            vectors(data, others)
        else:
            evaluate(data, options.collection, options.split)
    except SetupError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
