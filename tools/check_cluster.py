#!/usr/bin/env python3
"""Encoding on a cluster against encoding here: what `make check-ballista` and `make check-ray` run.

    check_cluster.py ballista --binary B --engine E --s3-server S
    check_cluster.py ray --binary B

The sample's articles become units, which two workers on this machine run; in the middle one of
them is killed. Every shard has to be, byte for byte, what `gleaner encode --manifest` makes here
of the same unit, and loading them has to encode nothing. Ballista does it twice: over a shared
folder, and with sources and shards in an S3 server.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Dict, List, Optional, Set

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import cache_folder  # noqa: E402
from console import SetupError, fail, say  # noqa: E402
from environment import ensure_environment  # noqa: E402
from setup import PROJECT  # noqa: E402

SAMPLE = PROJECT / "sample" / "articles.jsonl"
DEFINITION = PROJECT / "indexes" / "articles.toml"
RAY = PROJECT / "examples" / "ray"
#: Rows of a unit, and units of the sample then.
ROWS = 20
#: Longest that anything may take, in seconds.
PATIENCE = 300.0
#: Shards that are there when a worker is killed.
KILLED_AFTER = 3


class Work:
    """A folder for one check: the program, and what it is to do."""

    def __init__(self, binary: Path, folder: Path, environment: Dict[str, str]) -> None:
        self.binary, self.folder = binary, folder
        self.environment = {**os.environ, "GLEANER_DATA": str(folder / "data"), **environment}

    def run(self, *arguments: str) -> dict:
        command = [str(self.binary), *arguments, "--json"]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise SetupError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stderr}")
        return json.loads(done.stdout)

    def plan(self, out: Path, source: str, shards: Optional[str] = None) -> int:
        more = ["--shards", shards] if shards else []
        planned = self.run(
            "manifest", source, "--definition", str(DEFINITION), "--out", str(out), "--rows-per-unit", str(ROWS), *more
        )
        return planned["units"]


def digests(folder: Path) -> Dict[str, str]:
    """The shards in a folder, by their names."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.parquet"))}


def wait_for(what: str, holds, alive) -> None:
    started = time.monotonic()
    while not holds():
        for name, process in alive:
            if process.poll() is not None:
                raise SetupError(f"{name} ended with {process.returncode} before {what}")
        if time.monotonic() - started > PATIENCE:
            raise SetupError(f"{what}: not within {PATIENCE:.0f} s")
        time.sleep(0.05)


def compare(who: str, expected: Dict[str, str], found: Dict[str, str]) -> None:
    differ = [name for name in expected if found.get(name) != expected[name]]
    if differ or set(found) != set(expected):
        raise SetupError(f"{who}: {len(differ)} of {len(expected)} shards are not what is made here: {differ[:5]}")
    say(who, f"{len(found)} shards, all of them as made here")


def load(who: str, work: Work, shards: Path, index: str) -> None:
    """Loading encodes nothing, and loses nothing."""
    work.run("index", "create", str(DEFINITION), "--name", index)
    loaded = work.run("ingest", index, *[str(path) for path in sorted(shards.glob("*.parquet"))], "--quiet")
    rows = len(SAMPLE.read_text(encoding="utf-8").splitlines())
    if loaded["tokens"] != 0 or loaded["loaded"] != rows:
        raise SetupError(f"{who}: loading said {loaded}")
    say(who, f"{loaded['loaded']} documents loaded from them, nothing encoded")


def free_ports(count: int) -> List[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(command: List[str], work: Work, log: Path) -> subprocess.Popen:
    """A process with a group of its own, so that what it has started can be killed with it."""
    return subprocess.Popen(
        command,
        cwd=work.folder,
        env=work.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if log.name == "answers" else log.open("w"),
        stderr=log.with_suffix(".err").open("w"),
        start_new_session=True,
    )


def kill(process: subprocess.Popen) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def units_begun(log: Path) -> Set[str]:
    """The units that an executor says it began."""
    return set(re.findall(r"\] (\S+ -> \S+\.parquet)$", log.read_text(encoding="utf-8"), flags=re.MULTILINE))


def ballista_once(who: str, work: Work, engine: Path, out: Path, shards: Path) -> None:
    """Runs a manifest on a scheduler and two executors, one of which is killed in the middle."""
    logs = work.folder / f"logs-{who.replace(' ', '-')}"
    logs.mkdir()
    port, first, second = free_ports(1)[0], 0, 0
    # An executor takes a port and the next one.
    while not first or abs(first - second) < 2:
        first, second = free_ports(2)
    work.environment.update(RUST_LOG="info", GLEANER_PROGRAM=str(work.binary))
    running: List[subprocess.Popen] = []
    try:
        scheduler = start([str(engine), "scheduler", "--listen", f"127.0.0.1:{port}"], work, logs / "scheduler")
        running.append(scheduler)
        executors = []
        for number in (first, second):
            command = [str(engine), "executor", "--scheduler", f"127.0.0.1:{port}", "--port", str(number)]
            executors.append(start(command, work, logs / f"executor-{number}"))
        running.extend(executors)

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_for("the scheduler listens", listens, [("the scheduler", scheduler)])
        client = start(
            [str(engine), "run", "--scheduler", f"df://127.0.0.1:{port}", str(out / "units")], work, logs / "answers"
        )
        running.append(client)
        wait_for(f"{KILLED_AFTER} shards", lambda: len(digests(shards)) >= KILLED_AFTER, [("the client", client)])
        there = len(digests(shards))
        kill(executors[0])
        killed = time.monotonic()
        answers, _ = client.communicate(timeout=PATIENCE)
        if client.returncode != 0:
            raise SetupError(f"{who}: the client ended with {client.returncode}: {(logs / 'answers.err').read_text()}")
        outcomes = [json.loads(line) for line in answers.splitlines()]
        begun, by_the_other = (units_begun(logs / f"executor-{number}.err") for number in (first, second))
        if not begun & by_the_other:
            raise SetupError(f"{who}: the killed executor had no unit under way, so nothing was shown")
        workers = sorted({outcome["executor"] for outcome in outcomes})
        say(
            who,
            f"killed an executor when {there} shards were there; {len(outcomes)} units done "
            f"{time.monotonic() - killed:.0f} s later by {', '.join(workers)}, "
            f"{len(begun & by_the_other)} of them begun again",
        )
    finally:
        for process in running:
            kill(process)


def ballista(binary: Path, engine: Path, s3_server: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="gleaner-ballista-") as temporary:
        folder = Path(temporary)
        work = Work(binary, folder, {})
        units = work.plan(folder / "here", str(SAMPLE))
        work.run("encode", "--manifest", "here/manifest.jsonl", "--quiet")
        expected = digests(folder / "here")
        say("ballista", f"{units} units encoded here")
        work.plan(folder / "shared", str(SAMPLE))
        ballista_once("ballista, shared folder", work, engine, folder / "shared", folder / "shared")
        compare("ballista, shared folder", expected, digests(folder / "shared"))
        load("ballista, shared folder", work, folder / "shared", "shared")

        server = subprocess.Popen([str(s3_server)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            environment: Dict[str, str] = {}
            for line in server.stdout:
                name, value = line.rstrip("\n").split("=", 1)
                environment[name] = value
                if name == "BUCKET":
                    break
            bucket = Path(environment["BUCKET"])
            (bucket / "articles.jsonl").write_bytes(SAMPLE.read_bytes())
            work = Work(binary, folder, environment)
            # What is made here is of the same objects, beside what the cluster makes.
            work.plan(folder / "s3-here", "s3://lake/articles.jsonl", "s3://lake/here")
            work.run("encode", "--manifest", "s3-here/manifest.jsonl", "--quiet")
            work.plan(folder / "s3", "s3://lake/articles.jsonl", "s3://lake/shards")
            (bucket / "shards").mkdir(exist_ok=True)
            ballista_once("ballista, S3", work, engine, folder / "s3", bucket / "shards")
            compare("ballista, S3", digests(bucket / "here"), digests(bucket / "shards"))
            load("ballista, S3", work, bucket / "shards", "objects")
        finally:
            server.stdin.close()
            server.wait()


def ray(binary: Path) -> None:
    python = ensure_environment("ray", cache_folder(os.environ) / "ray-venv", RAY / "requirements.txt", 1 << 30)
    with tempfile.TemporaryDirectory(prefix="gleaner-ray-") as temporary:
        folder = Path(temporary)
        work = Work(binary, folder, {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"})
        units = work.plan(folder / "here", str(SAMPLE))
        work.run("encode", "--manifest", "here/manifest.jsonl", "--quiet")
        say("ray", f"{units} units encoded here")
        shared = folder / "shared"
        work.plan(shared, str(SAMPLE))
        command = [str(python), str(RAY / "encode.py"), str(shared / "manifest.jsonl")]
        client = start([*command, "--gleaner", str(binary), "--workers", "2"], work, folder / "answers")
        too_long = threading.Timer(PATIENCE, kill, [client])
        too_long.start()
        try:
            outcomes = []
            killed = None
            for line in client.stdout:
                try:
                    outcomes.append(json.loads(line))
                except ValueError:
                    raise SetupError(f"ray: this is no outcome: {line!r}") from None
                workers = {outcome.get("worker") for outcome in outcomes}
                if killed is None and len(outcomes) >= KILLED_AFTER and len(workers) == 2:
                    # Most likely it is at its next unit.
                    killed = outcomes[-1]["worker"]
                    os.kill(killed, signal.SIGKILL)
            if client.wait() != 0:
                raise SetupError(f"ray: ended with {client.returncode}: {(folder / 'answers.err').read_text()}")
        finally:
            too_long.cancel()
            kill(client)
        if killed is None:
            raise SetupError("ray: one worker did everything, so none was killed in the middle")
        others = {outcome["worker"] for outcome in outcomes} - {killed}
        say("ray", f"killed worker {killed}; {len(outcomes)} units done, also by {sorted(others)}")
        compare("ray", digests(folder / "here"), digests(shared))
        load("ray", work, shared, "shared")


def main(arguments: Optional[List[str]] = None) -> None:
    parser = argparse.ArgumentParser(prog="check_cluster.py", description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["ballista", "ray"])
    parser.add_argument("--binary", type=Path, required=True, help="the gleaner program")
    parser.add_argument("--engine", type=Path, help="the program of the folder ballista")
    parser.add_argument("--s3-server", type=Path, help="examples/s3_server.rs")
    options = parser.parse_args(arguments)
    try:
        if options.what == "ray":
            ray(options.binary.absolute())
        elif options.engine and options.s3_server:
            ballista(options.binary.absolute(), options.engine.absolute(), options.s3_server.absolute())
        else:
            parser.error("ballista needs --engine and --s3-server")
    except SetupError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
