"""All training of the re-rankers side by side, for a machine with a GPU and little time: the study,
and several recipes of which the best on held-out queries is measured on the evaluation sets.

Every part is a process of its own with a log of its own, so that a part that fails or is stopped
takes nothing else along; what a stopped session leaves can be used, and goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional, Sequence

#: Seconds that are kept for measuring the chosen recipe.
MEASURING = 25.0
#: Collections whose candidates are computed at a time.
PREPARING = min(8, os.cpu_count() or 1)


def command(*arguments: object) -> List[str]:
    return [sys.executable, "-m", "rerankers", *map(str, arguments)]


def session(
    recipes: Sequence[Path],
    study: Optional[Path],
    out: Path,
    seconds: float,
    jobs: int,
    extra: Sequence[str] = (),
    study_extra: Sequence[str] = (),
    scale: float = 1.0,
    queries: int = 0,
) -> int:
    """Returns how many parts failed or were stopped."""
    begun = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "true"}
    environment.setdefault("OMP_NUM_THREADS", "2")
    running: Dict[str, subprocess.Popen] = {}
    settings = [part for value in extra for part in ("--set", value)]

    def start(name: str, arguments: Sequence[object]) -> None:
        with open(out / f"{name}.log", "a", encoding="utf-8") as log:
            # A group of its own: what is stopped takes its workers along.
            running[name] = subprocess.Popen(
                command(*arguments), stdout=log, stderr=log, env=environment, start_new_session=True
            )

    # Both need the candidates; computed once, and not by each of them.
    needed = [*recipes, *([study] if study else [])]
    start("prepare", ["prepare", *needed, "--jobs", PREPARING])
    try:
        failed = running["prepare"].wait(timeout=seconds) != 0
    except subprocess.TimeoutExpired:
        os.killpg(running["prepare"].pid, signal.SIGTERM)
        failed = True
    del running["prepare"]
    print(f"{time.monotonic() - begun:5.0f} s  candidates: {'failed' if failed else 'done'}", flush=True)
    for recipe in recipes:
        start(recipe.stem, ["train", recipe, "--out", out / recipe.stem, "--choose", "--scale", scale, *settings])
    if study is not None:
        study_settings = [part for value in study_extra for part in ("--set", value)]
        last = max(1.0, seconds - MEASURING - (time.monotonic() - begun))
        arguments = ["study", study, "--out", out / "study", "--jobs", jobs, "--seconds", last, "--queries", queries]
        start("study", [*arguments, *study_settings])
    reported = False
    while running:
        time.sleep(0.5)
        spent = time.monotonic() - begun
        for name, process in list(running.items()):
            if process.poll() is not None:
                del running[name]
                failed += process.returncode != 0
                print(f"{spent:5.0f} s  {name}: {'done' if process.returncode == 0 else f'failed ({process.returncode})'}", flush=True)
        if not reported and recipes and not any(recipe.stem in running for recipe in recipes):
            reported = True
            best = pick(out, [recipe.stem for recipe in recipes])
            if best is not None:
                print(f"{spent:5.0f} s  best on held-out queries: {best}", flush=True)
                (out / "best.json").write_text(json.dumps({"best": best}) + "\n", encoding="utf-8")
                start("report", ["report", "--out", out / best, "--reports", out / "reports", "--queries", queries])
        if spent > seconds:
            for name, process in running.items():
                print(f"{spent:5.0f} s  {name}: stopped", flush=True)
                os.killpg(process.pid, signal.SIGTERM)
                failed += 1
            break
    for process in running.values():
        process.wait(timeout=20)
    collect(out)
    return failed


def pick(out: Path, names: Sequence[str]) -> Optional[str]:
    """The run with the best value on held-out queries; None where no run came so far."""
    values = {}
    for name in names:
        path = out / name / "run.json"
        run = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if "chosen" in run:
            values[name] = (run["chosen"]["allowed"], run["chosen"]["value"])
    return max(values, key=lambda name: values[name]) if values else None


def collect(out: Path) -> None:
    """Few small files of what matters, in `out`/keep: all reports in one, the best runs' weights."""
    keep = out / "keep"
    keep.mkdir(exist_ok=True)
    runs = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("*/run.json"))}
    parts = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted((out / "study").glob("*.json"))}
    reports = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted((out / "reports" / "rerankers").glob("*.json"))}
    logs = {path.name: path.read_text(encoding="utf-8", errors="replace")[-20_000:] for path in sorted(out.glob("*.log"))}
    content = {"runs": runs, "study": parts, "reports": reports, "logs": logs}
    (keep / "session.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
    done = sorted((name for name in runs if "chosen" in runs[name]), key=lambda name: -runs[name]["chosen"]["value"])
    for name in done[:2]:
        for path in kept_of(out / name, ""):
            shutil.copyfile(path, keep / f"{name}-{path.name}")


def kept_of(folder: Path, prefix: str) -> List[Path]:
    """A run's chosen weights and its scores."""
    return [path for pattern in ("chosen-[01].safetensors", "scores-*.npz") for path in sorted(folder.glob(prefix + pattern))]


def restore(keep: Path, out: Path, reports: Path) -> None:
    """The folders of a session from what `collect` kept of it."""
    content = json.loads((keep / "session.json").read_text(encoding="utf-8"))
    for name, run in content["runs"].items():
        (out / name).mkdir(parents=True, exist_ok=True)
        (out / name / "run.json").write_text(json.dumps(run, indent=2) + "\n", encoding="utf-8")
        for path in kept_of(keep, f"{name}-"):
            shutil.copyfile(path, out / name / path.name.removeprefix(f"{name}-"))
    (out / "study").mkdir(parents=True, exist_ok=True)
    for name, part in content["study"].items():
        (out / "study" / name).write_text(json.dumps(part) + "\n", encoding="utf-8")
    from .run import write_report

    for part in content["reports"].values():
        name = part.pop("name")
        part.pop("when", None)
        write_report(name, reports, part)
