#!/usr/bin/env python3
"""The fuzz targets of fuzz/, one for each core at a time: what `make fuzz` runs.

    fuzz.py [--seconds N] [--jobs N] [--target-dir DIR] [--keep] [TARGET ...]

Builds them with the compiler that is here, stable or not, runs each for so many seconds from its
corpus (fuzz/corpus, begun with what earlier runs kept in fuzz/corpora, the seeds in fuzz/seeds and
those that `seeds` makes), and ends with status 1 where an input was found that panics, hangs or takes
too much memory; the input is then in fuzz/artifacts. `--keep` writes the smallest inputs that reach
all that was reached back to fuzz/corpora. `cargo fuzz run TARGET` works as well.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parent))

from console import SetupError, duration, fail, say  # noqa: E402

PROJECT = Path(__file__).resolve().parent.parent
FUZZ = PROJECT / "fuzz"
KEPT = FUZZ / "corpora"
TARGETS = sorted(path.stem for path in (FUZZ / "fuzz_targets").glob("*.rs"))
#: Longest that one input may take, in seconds, and most memory, in megabytes.
SLOW = 20
MEMORY = 3000
#: Longest input, in bytes.
LONGEST = {"files": 16_384, "snapshot_lists": 8_192, "vector_files": 131_072}


def build(target_dir: Path) -> Path:
    """The folder of the binaries."""
    # What was locked is what is fuzzed; cargo adds what the root does not have.
    shutil.copyfile(PROJECT / "Cargo.lock", FUZZ / "Cargo.lock")
    environment = dict(os.environ, RUSTC_WRAPPER=str(FUZZ / "rustc.sh"), CARGO_TARGET_DIR=str(target_dir))
    if subprocess.run(["cargo", "build", "--bins"], cwd=str(FUZZ), env=environment).returncode != 0:
        raise SetupError("the fuzz targets could not be built; the message is above")
    return target_dir / "debug"


def run(binary: Path, target: str, seconds: int) -> Dict[str, Any]:
    """Runs one target; what libFuzzer said of the run."""
    corpus = FUZZ / "corpus" / target
    artifacts = FUZZ / "artifacts" / target
    for folder in (corpus, artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    command = [str(binary), str(corpus)]
    if (FUZZ / "seeds" / target).is_dir():
        command.append(str(FUZZ / "seeds" / target))
    command += [f"-max_total_time={seconds}", f"-artifact_prefix={artifacts}/", f"-timeout={SLOW}"]
    command += [f"-rss_limit_mb={MEMORY}", f"-max_len={LONGEST.get(target, 4096)}", "-print_final_stats=1"]
    started = time.monotonic()
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="gleaner-fuzz-", dir=memory) as folder:
        done = subprocess.run(
            command,
            env=dict(os.environ, GLEANER_FUZZ_FOLDER=folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            errors="replace",
        )
    ran = re.search(r"stat::number_of_executed_units: (\d+)", done.stderr)
    covered = re.findall(r"cov: (\d+)", done.stderr)
    report = {
        "target": target,
        "seconds": round(time.monotonic() - started),
        "inputs": int(ran.group(1)) if ran else None,
        "reached": int(covered[-1]) if covered else None,
        "failed": done.returncode != 0,
    }
    if done.returncode != 0:
        (artifacts / "log").write_text(done.stderr, encoding="utf-8")
        print("\n".join(done.stderr.splitlines()[-30:]), file=sys.stderr)
    return report


def unpack(target: str) -> None:
    """Adds to the corpus what earlier runs kept."""
    archive = KEPT / f"{target}.tar.gz"
    corpus = FUZZ / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    if not archive.is_file():
        return
    with tarfile.open(archive) as packed:
        for member in packed:
            inside = packed.extractfile(member)
            if inside is not None:
                (corpus / Path(member.name).name).write_bytes(inside.read())


def keep(binary: Path, target: str) -> None:
    """Packs the smallest inputs of the corpus that reach all of it; the same inputs make the same file."""
    with tempfile.TemporaryDirectory(prefix="gleaner-fuzz-") as name:
        least = Path(name) / "least"
        least.mkdir()
        command = [str(binary), "-merge=1", f"-timeout={SLOW}", f"-rss_limit_mb={MEMORY}"]
        command += [f"-max_len={LONGEST.get(target, 4096)}", str(least), str(FUZZ / "corpus" / target)]
        environment = dict(os.environ, GLEANER_FUZZ_FOLDER=str(Path(name) / "files"))
        (Path(name) / "files").mkdir()
        quiet = subprocess.DEVNULL
        if subprocess.run(command, env=environment, stdin=quiet, stdout=quiet, stderr=quiet).returncode != 0:
            raise SetupError(f"the corpus of {target} could not be made smaller")
        packed = io.BytesIO()
        inputs = sorted(least.iterdir())
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for path in inputs:
                content = path.read_bytes()
                member = tarfile.TarInfo(path.name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{target}.tar.gz").write_bytes(gzip.compress(packed.getvalue(), mtime=0))
    size = (KEPT / f"{target}.tar.gz").stat().st_size
    say("fuzz", f"{target}: {len(inputs)} inputs kept in {size >> 10} KiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="how long each target runs")
    parser.add_argument("--target-dir", type=Path, required=True, help="where cargo builds")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many run at once")
    parser.add_argument("--keep", action="store_true", help="write the corpora back to fuzz/corpora")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"which of {', '.join(TARGETS)}; all by default")
    options = parser.parse_args()
    unknown = sorted(set(options.targets) - set(TARGETS))
    if unknown:
        raise SetupError(f"there is no target {', '.join(unknown)}, but {', '.join(TARGETS)}")
    binaries = build(options.target_dir.resolve())
    targets = options.targets or TARGETS
    for target in targets:
        unpack(target)
    subprocess.run([str(binaries / "seeds")], env=dict(os.environ, GLEANER_CORPUS=str(FUZZ / "corpus")), check=True)

    def one(target: str) -> Dict[str, Any]:
        report = run(binaries / target, target, options.seconds)
        outcome = "FAILED; the input is in fuzz/artifacts" if report["failed"] else "nothing found"
        took = duration(report["seconds"])
        say("fuzz", f"{target}: {outcome}; {report['inputs']} inputs, {report['reached']} places reached in {took}")
        return report

    # Each is a process of its own; the threads wait.
    with ThreadPoolExecutor(max(1, options.jobs)) as pool:
        reports: List[Dict[str, Any]] = list(pool.map(one, targets))
    folder = PROJECT / "reports"
    folder.mkdir(exist_ok=True)
    (folder / "fuzz.json").write_text(json.dumps(reports, indent=2) + "\n", encoding="utf-8")
    if any(report["failed"] for report in reports):
        raise SetupError("an input was found; it is in fuzz/artifacts")
    if options.keep:
        for target in targets:
            keep(binaries / target, target)


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        fail(error)
