#!/usr/bin/env python3
"""Fits and measures the default fusion: what `make train-fusion`, `make eval-fusion` and
`make eval-clicks` run.

Fitting reads training splits only, and chooses on queries that are held out of them. The
evaluation sets report: each run is added to reports/eval-fusion-log.jsonl.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import write_atomically  # noqa: E402
from console import SetupError, fail  # noqa: E402
from measure import bench_data  # noqa: E402
from run import PROGRAM, PROJECT, installed  # noqa: E402

COMBINER = PROJECT / "src" / "combine" / "default.toml"
REPORTS = PROJECT / "reports"
MADE = ["medquad", "passages", "snippets", "answers", "functions", "documented"]
THRICE = ["snippets"]
EVALUATED = {
    "scifact": ("retrieval/scifact", "test"),
    "nfcorpus": ("retrieval/nfcorpus", "dev"),
    "cranfield": ("retrieval/cranfield", "test"),
    "cacm": ("retrieval/cacm", "test"),
    "cosqa": ("code/cosqa", "dev"),
}
# What fusion is to be better than equal weights by, in the mean over the sets.
BETTER_BY = 0.015


def gleaner(arguments: List[str]) -> Any:
    command = [str(installed(PROGRAM)), "--json", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, universal_newlines=True)
    if done.returncode != 0:
        raise SetupError(f"`{' '.join(command)}` ended with status {done.returncode}; its message is above")
    return json.loads(done.stdout) if done.stdout.strip() else None


def sets_of(data: Path, made: Path) -> Dict[str, str]:
    sets = {name: f"{data}/retrieval/{name}:train" for name in ("scifact", "nfcorpus")}
    sets.update({name: f"{made}/{name}:train" for name in MADE})
    return sets


def features(data: Path, work: Path, packages: Path, names: List[str]) -> List[str]:
    """Files with what is known of the candidates of each set's queries."""
    make = [sys.executable, str(PROJECT / "tools" / "fusion_data.py"), "--data", str(data)]
    if any(name in MADE for name in names):
        status = subprocess.run([*make, "--packages", str(packages), "--out", str(work / "sets")]).returncode
        if status != 0:
            raise SetupError("the training sets could not be made; the message is above")
    sets = sets_of(data, work / "sets")
    files = []
    for name in names:
        file = work / "features" / f"{name}.jsonl"
        gleaner(
            ["fusion", "features", "--set", f"{name}={sets[name]}"]
            + ["--keep", str(work / "indexes"), "--out", str(file.parent)]
        )
        files.append(str(file))
    return files


def report(name: str, result: Any) -> None:
    REPORTS.mkdir(exist_ok=True)
    path = REPORTS / f"{name}.json"
    write_atomically(path, json.dumps(result, indent=2) + "\n")
    print(f"written: {path.relative_to(PROJECT)}")


def train(data: Path, work: Path, packages: Path) -> None:
    files = features(data, work, packages, ["scifact", "nfcorpus", *MADE])
    # Where one leg is much weaker, weighing them wrongly costs most.
    files += 2 * [file for file in files if Path(file).stem in THRICE]
    result = gleaner(["fusion", "fit", *files, "--leave-one-out", "--out", str(COMBINER)])
    print("nDCG@10 on queries held out; `left out` is fitted on the other sets alone")
    print("set          queries  lexical   dense  minmax  fitted  left out")
    for name, row in result["sets"].items():
        values = [row["lexical"], row["dense"], row["minmax"], row["fitted"], row["left_out"]]
        print(f"{name:12} {row['held_out']:7} " + " ".join(f"{value:7.4f}" for value in values))
    report("train-fusion", result)
    print(f"written: {COMBINER.relative_to(PROJECT)}; build again to use it")


def evaluate(data: Path, work: Path) -> None:
    arguments = ["fusion", "measure", "--keep", str(work / "indexes-evaluated")]
    for name, (folder, split) in EVALUATED.items():
        if not (data / folder).is_dir():
            print(f"skipped: {data / folder} is missing")
            return
        arguments += ["--set", f"{name}={data / folder}:{split}"]
    result = gleaner(arguments)
    ways = list(next(iter(result.values()))["rows"])
    print("nDCG@10; p of the paired randomisation test of `learned` against each")
    print("set        queries " + " ".join(f"{way:>16}" for way in ways))
    for name, one in result.items():
        cells = []
        for way, row in one["rows"].items():
            cells.append(f"{row['ndcg']:.4f}" + ("" if way == "learned" else f" ({row['p']:.4f})"))
        print(f"{name:10} {one['queries']:7} " + " ".join(f"{cell:>16}" for cell in cells))
    means = {way: sum(one["rows"][way]["ndcg"] for one in result.values()) / len(result) for way in ways}
    print("mean               " + " ".join(f"{means[way]:16.4f}" for way in ways))
    worse = [name for name, one in result.items() if one["worse_than_a_leg"]]
    gain = means["learned"] - means["minmax"]
    print(f"significantly worse than the better leg: {', '.join(worse) or 'nowhere'}")
    print(f"better than equal weights in the mean by {gain:.4f} (wanted: {BETTER_BY})")
    whole = {"sets": result, "means": means, "gain": gain, "worse_than_a_leg": worse}
    report("eval-fusion", whole)
    line = {"time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "means": means}
    line["learned"] = {name: one["rows"]["learned"]["ndcg"] for name, one in result.items()}
    with open(REPORTS / "eval-fusion-log.jsonl", "a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def clicks(data: Path, work: Path, packages: Path) -> None:
    files = features(data, work, packages, ["scifact", "nfcorpus"])
    result: Dict[str, Any] = {}
    for weight in ("0.95", "0.5"):
        for name, one in gleaner(["fusion", "simulate", *files, "--lexical-weight", weight]).items():
            result[f"{name}, weight of the words {weight}"] = one
    ways = ["plain", "propensity", "coupled", "corrected"]
    print("nDCG@10 against the true relevance; p of `corrected` against what was shown and `plain`")
    print(f"{'':44} {'shown':>8} " + " ".join(f"{way:>10}" for way in ways) + "   p shown  p plain")
    for name, one in result.items():
        fits = one["fits"]
        values = " ".join(f"{fits[way]['ndcg']:10.4f}" for way in ways)
        corrected = fits["corrected"]
        print(f"{name:44} {one['shown']:8.4f} {values}   {corrected['p_shown']:.4f}   {corrected['p_plain']:.4f}")
    report("eval-clicks", result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["train", "evaluate", "clicks"])
    parser.add_argument("--work", type=Path, required=True, help="folder for indexes and features")
    parser.add_argument("--packages", type=Path, required=True, help="virtual environment with Python packages")
    options = parser.parse_args()
    data = bench_data(os.environ)
    if data is None:
        return
    try:
        if options.what == "train":
            train(data, options.work, options.packages)
        elif options.what == "evaluate":
            evaluate(data, options.work)
        else:
            clicks(data, options.work, options.packages)
    except SetupError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
