#!/usr/bin/env python3
"""Searches the same vectors with this project and with its peers, side by side.

    bench_vectors.py [options] --ours COMMAND...   (--ours comes last)

`COMMAND prepare NAME DIR` makes the vectors of a dataset and `COMMAND engine` answers
requests; every peer does so in a process of its own (benches/peers/engine.py says how).
Prints tables for people and writes reports/vectors.json.

# How the numbers come about
Indexes are built one after another with 2 threads, saved, and opened in fresh processes
that all stay alive while one at a time is asked. Recall is measured over a grid of beam
widths; rates are the medians of interleaved rounds, at one core (to which the whole
process is kept) and at all. Rates are compared where recall@10 is 0.98, between the two
widths around it. Memory is the growth of a process's share of physical pages from before
it opens its index to after it has answered all queries.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

PROJECT = Path(__file__).resolve().parent.parent
PEERS_FOLDER = PROJECT / "benches" / "peers"
sys.path.insert(0, str(PROJECT / "tools"))
sys.path.insert(0, str(PEERS_FOLDER))

import place  # noqa: E402
import summary  # noqa: E402
from cache import Cache, cache_folder, write_atomically  # noqa: E402
from client import Engine, EngineError, EngineLost, all_cores  # noqa: E402
from console import SetupError, duration, fail, say  # noqa: E402
from summary import GRID, K, OURS, PLANNER, STRATEGIES, VARIANT, YARDSTICK, Contest, Measured, Point  # noqa: E402

BUILD_THREADS = 2
# One measurement lasts about this long, so that a fast engine's is not all noise.
SECONDS = 0.5
# Between two engines: some libraries' threads spin for a while after their work.
PAUSE = 0.05
FILTER_PARTS = (2, 10, 100, 1000)
# Who answers under a filter: its label, its engine, and the strategy that ours is held to.
WAYS: Sequence[Tuple[str, str, Optional[str]]] = (
    (PLANNER, OURS, None),
    *((label, OURS, strategy) for strategy, label in STRATEGIES.items()),
    ("hnswlib", "hnswlib", None),
    ("faiss-flat", "faiss-flat", None),
)
# Fewer queries tell too little about recall, however slow an engine is.
FEWEST_QUERIES = 100


class Bench:
    """What holds for all datasets: who takes part, where, and how they are started."""

    def __init__(
        self, options: argparse.Namespace, python: Path, absent: Mapping[str, str], work: Path
    ) -> None:
        self.options = options
        self.python = python
        self.absent = absent
        self.work = work
        self.cores = set(all_cores())
        self.one_core = {max(self.cores)}
        self.engines: List[str] = options.engines
        self.environment = {**os.environ, "TMPDIR": str(work)}

    def start(self, name: str, cores: Set[int]) -> Engine:
        if name in self.absent:
            raise EngineLost(self.absent[name])
        environment = self.environment
        if name in (OURS, VARIANT):
            if not self.options.ours:
                raise EngineLost("no --ours was given")
            command = [*self.options.ours, "engine"]
            if name == VARIANT:
                environment = {**environment, "GLEANER_BENCH_BUILDER": "hnsw_rs"}
        else:
            command = [str(self.python), str(PEERS_FOLDER / "engine.py"), name]
        log = self.work / f"{name}.log"
        return Engine(command, log, environment, cores, self.options.timeout)


class Run:
    """The measurements on one dataset."""

    def __init__(self, bench: Bench, name: str, folder: Path) -> None:
        self.bench = bench
        self.name = name
        self.folder = folder
        self.work = bench.work / name
        self.work.mkdir()
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        self.count = int(meta["count"])
        self.dimensions = int(meta["dimensions"])
        self.queries = int(meta["queries"])
        self.truth = summary.ids_of(folder / "truth.u32")
        self.measured: Dict[str, Measured] = {}
        self.open: Dict[str, Engine] = {}

    def say(self, message: str) -> None:
        say(self.name, message)

    @contextlib.contextmanager
    def guarded(self, name: str) -> Iterator[None]:
        """An engine that fails here is absent from now on, with its reason; the others go on."""
        try:
            yield
        except (EngineError, OSError, KeyError, ValueError) as error:
            reason = f"an answer lacks {error}" if isinstance(error, KeyError) else str(error)
            self.measured[name].absent = reason
            self.say(f"{name} is absent: {reason}")
            engine = self.open.pop(name, None)
            if engine is not None:
                engine.kill()

    # Build and open

    def index_path(self, name: str) -> Path:
        return self.work / name / "index"

    def build_all(self) -> None:
        for name in self.bench.engines:
            self.measured[name] = Measured(name)
            with self.guarded(name):
                seconds = [self.build(name) for _ in range(self.bench.options.build_rounds)]
                self.measured[name].build_seconds = summary.median(seconds)
                self.say(f"{name}: built in {summary.median(seconds):.1f} s")

    def build(self, name: str) -> float:
        measured = self.measured[name]
        cores = set(sorted(self.bench.cores)[:BUILD_THREADS])
        engine = self.bench.start(name, cores)
        try:
            self.introduce(measured, engine)
            seconds = float(engine.request("build", data=str(self.folder), threads=BUILD_THREADS)["seconds"])
            shutil.rmtree(self.index_path(name).parent, ignore_errors=True)
            self.index_path(name).parent.mkdir()
            measured.disk_bytes = int(engine.request("save", path=str(self.index_path(name)))["bytes"])
            return seconds
        finally:
            engine.quit()

    def introduce(self, measured: Measured, engine: Engine) -> None:
        """Its answer also says that the process has started and loaded what it needs."""
        try:
            answer = engine.request("hello")
        except EngineLost:
            raise
        except EngineError:
            # Only peers have to answer; what they say instead is why they cannot work.
            if measured.name != OURS:
                raise
            return
        measured.version = str(answer.get("version", ""))
        measured.settings = str(answer.get("settings", ""))

    def open_all(self) -> None:
        for name in self.present():
            with self.guarded(name):
                self.open[name] = engine = self.bench.start(name, self.bench.cores)
                self.introduce(self.measured[name], engine)
                before = engine.resident_bytes()
                self.measured[name].open_seconds = self.open_index(name, engine)
                self.sweep(name, engine)
                self.measured[name].resident_bytes = engine.resident_bytes() - before

    def open_index(self, name: str, engine: Engine) -> float:
        path = str(self.index_path(name))
        return float(engine.request("open", path=path, data=str(self.folder))["seconds"])

    def present(self) -> List[str]:
        return [name for name, measured in self.measured.items() if not measured.absent]

    def close(self) -> None:
        for engine in self.open.values():
            engine.quit()
        self.open.clear()

    # Recall and rates

    def search(self, engine: Engine, ef: int, cores: Set[int], **fields: Any) -> float:
        """Asks; returns queries per second. The ids lie in `found` afterwards."""
        engine.use_cores(cores)
        threads = len(cores)
        request: Dict[str, Any] = {"ef": ef, "k": K, "threads": threads, "rounds": 1, "limit": None}
        request.update({"filter": None, "strategy": None, "out": str(self.found_path), **fields})
        answer = engine.request("search", **request)
        return float(answer["queries"]) / max(float(answer["seconds"]), 1e-9)

    @property
    def found_path(self) -> Path:
        return self.work / "found.u32"

    def recall(self, truth: Sequence[int], limit: Optional[int] = None) -> float:
        """Of the last search, which asked the first `limit` queries."""
        found = summary.ids_of(self.found_path)
        self.found_path.unlink()
        return summary.recall(found, truth, limit or self.queries, summary.TRUTH_DEPTH)

    def sweep(self, name: str, engine: Engine) -> None:
        """Widens the beam until nearly everything is found, and at least to the width that
        all engines are shown at."""
        points = self.measured[name].points
        self.search(engine, GRID[0], self.bench.cores)
        for ef in GRID:
            rate = self.search(engine, ef, self.bench.cores)
            points.append(Point(ef, self.recall(self.truth), swept=rate))
            if ef >= summary.DEFAULT_EF and max(point.recall for point in points) >= summary.ENOUGH:
                break
        self.say(
            f"{name}: recall@{K} {points[0].recall:.4f} at {points[0].ef}, "
            f"{points[-1].recall:.4f} at {points[-1].ef}"
        )

    def time_all(self) -> None:
        for turn in range(self.bench.options.rounds):
            self.say(f"timing, round {turn + 1} of {self.bench.options.rounds}")
            for name in self.present():
                time.sleep(PAUSE)
                with self.guarded(name):
                    for point in summary.to_time(self.measured[name].points):
                        self.time_point(self.open[name], point)

    def time_point(self, engine: Engine, point: Point) -> None:
        seconds = self.bench.options.seconds
        # More cores than queries in flight never help more than in proportion.
        slowest = point.swept / len(self.bench.cores)
        rounds = summary.rounds_for(self.queries, slowest, seconds)
        point.one.append(self.search(engine, point.ef, self.bench.one_core, rounds=rounds))
        rounds = summary.rounds_for(self.queries, point.swept, seconds)
        point.all.append(self.search(engine, point.ef, self.bench.cores, rounds=rounds))

    # Filters

    def filters(self) -> Tuple[List[Dict[str, Any]], Dict[int, float]]:
        """Rows of the table, and for every filter the planner's recall at the default width."""
        parts = [part for part in FILTER_PARTS if part <= self.count]
        place.numpy_step(self.bench.python, "filters", self.folder, self.work, "--parts", *parts)
        rows: List[Dict[str, Any]] = []
        recalls: Dict[int, float] = {}
        for part in parts:
            self.say(f"a filter that passes 1/{part}")
            mask = str(self.work / f"pass-{part}.u8")
            truth = summary.ids_of(self.work / f"pass-{part}.truth.u32")
            rows += [contest.row(part) for contest in self.contests(mask, truth)]
            if OURS in self.open:
                recalls[part] = 0.0
                with self.guarded(OURS):
                    self.search(self.open[OURS], summary.DEFAULT_EF, self.bench.cores, filter=mask)
                    recalls[part] = self.recall(truth)
        return rows, recalls

    def contests(self, mask: str, truth: Sequence[int]) -> List[Contest]:
        contests: List[Contest] = []
        timed: List[Callable[[], None]] = []
        for label, name, strategy in WAYS:
            if name not in self.open:
                continue
            contest = Contest(label)
            contests.append(contest)
            ask = Asked(self, self.open[name], mask, strategy)
            with tried(contest):
                ask.tune(contest, truth)
                timed.append(partial(ask.time, contest))
        for _ in range(self.bench.options.rounds):
            for measure in timed:
                time.sleep(PAUSE)
                measure()
        return contests

    # Churn

    def churn(self) -> Dict[str, Any]:
        """Half of the points leave and as many come: what the default width finds before and
        after, each against the exact neighbours among the points then alive."""
        place.numpy_step(self.bench.python, "churn", self.folder, self.work)
        engine = self.bench.start(OURS, self.bench.cores)
        try:
            self.introduce(Measured(OURS), engine)
            self.open_index(OURS, engine)
            self.search(engine, summary.DEFAULT_EF, self.bench.cores)
            before = self.recall(self.truth)
            files = {"delete": str(self.work / "delete.u8"), "insert": str(self.work / "insert.f32")}
            answer = engine.request("churn", data=str(self.folder), **files)
            self.search(engine, summary.DEFAULT_EF, self.bench.cores)
            after = self.recall(summary.ids_of(self.work / "churn.truth.u32"))
            return {"recall_before": before, "recall_after": after, "seconds": answer.get("seconds")}
        except (EngineError, OSError, KeyError, ValueError) as error:
            self.say(f"churn was not measured: {error}")
            return {"absent": str(error)}
        finally:
            engine.quit()

    # All of it

    def report(self, first: bool) -> Dict[str, Any]:
        """Every number of this dataset; filters and churn are measured on the first only."""
        options = self.bench.options
        self.build_all()
        try:
            self.open_all()
            self.time_all()
            filters: List[Dict[str, Any]] = []
            recalls: Dict[int, float] = {}
            if first and not options.skip_filters and self.open:
                filters, recalls = self.filters()
        finally:
            self.close()
        engines = [measured.row(self.count) for measured in self.measured.values()]
        keys = summary.engine_keys(engines)
        rows: Dict[str, Any] = {"engines": engines}
        if first and not options.skip_filters:
            keys.update(summary.filter_keys(filters, recalls))
            rows["filters"] = filters
            rows["filtered_recall_ef64"] = {str(part): found for part, found in recalls.items()}
        if first and not options.skip_churn and OURS in self.present():
            rows["churn"] = churn = self.churn()
            known = "absent" not in churn
            keys["recall_change_after_deletes"] = (
                churn["recall_after"] - churn["recall_before"] if known else None
            )
        vectors = {"count": self.count, "dimensions": self.dimensions, "queries": self.queries}
        return {**keys, "dataset": self.name, "vectors": vectors, "rows": rows}


class Asked:
    """One way to answer under one filter: an engine and, for ours, the strategy forced."""

    def __init__(self, run: Run, engine: Engine, mask: str, strategy: Optional[str]) -> None:
        self.run = run
        self.engine = engine
        self.fields = {"filter": mask, "strategy": strategy}

    def search(self, ef: int, limit: int, rounds: int = 1) -> float:
        one = self.run.bench.one_core
        return self.run.search(self.engine, ef, one, limit=limit, rounds=rounds, **self.fields)

    def tune(self, contest: Contest, truth: Sequence[int]) -> None:
        """Finds the narrowest beam whose recall is enough; slow engines are asked fewer
        queries, and the same ones again when they are timed."""
        few = min(self.run.queries, 20)
        rate = self.search(GRID[0], few)
        affordable = max(FEWEST_QUERIES, int(rate * self.run.bench.options.seconds))
        contest.queries = min(self.run.queries, affordable)
        for ef in GRID:
            contest.swept = self.search(ef, contest.queries)
            contest.ef, contest.recall = ef, self.run.recall(truth, contest.queries)
            contest.reached = contest.recall >= summary.TARGET
            if contest.reached:
                return

    def time(self, contest: Contest) -> None:
        with tried(contest):
            seconds = self.run.bench.options.seconds
            rounds = summary.rounds_for(contest.queries, contest.swept, seconds)
            contest.rates.append(self.search(contest.ef or GRID[0], contest.queries, rounds))


@contextlib.contextmanager
def tried(contest: Contest) -> Iterator[None]:
    """A way that fails is out of this contest; the others go on."""
    try:
        yield
    except (EngineError, OSError, KeyError, ValueError) as error:
        contest.trouble = str(error)
        contest.reached = False
        say(contest.label, f"is out: {error}")


# The machine, and what is said of it


def machine() -> Dict[str, Any]:
    models = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line]
    memory = [line.split() for line in _lines("/proc/meminfo") if line.startswith("MemTotal:")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(all_cores()),
        "memory_gib": round(int(memory[0][1]) / 2**20, 1) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _lines(path: str) -> List[str]:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    return []


def tables(report: Mapping[str, Any], markdown: bool) -> str:
    """All tables of one dataset, with a line of words before each."""
    vectors, rows = report["vectors"], report["rows"]
    draw = summary.as_markdown if markdown else summary.as_text
    about = (
        f"{report['dataset']}: {vectors['count']:,} x {vectors['dimensions']}, {vectors['queries']:,} queries"
    )
    parts = [f"### {about}" if markdown else about, draw(summary.engine_table(rows["engines"]))]
    absent = [f"{row['engine']}: {row['absent']}" for row in rows["engines"] if "absent" in row]
    settings = [f"{row['engine']}: {row['settings']}" for row in rows["engines"] if row.get("settings")]
    parts += ["\n".join(f"- {line}" for line in lines) for lines in (settings, absent) if lines]
    if rows.get("filters"):
        parts += ["Under a filter, one core:", draw(summary.filter_table(rows["filters"]))]
    parts += ["In short:", draw(summary.keys_table(report))]
    return "\n\n".join(parts)


def describe(found: Mapping[str, Any], options: argparse.Namespace) -> str:
    return (
        f"{found['cpu']}, {found['cores']} cores, {found['memory_gib']} GiB, {found['system']}, "
        f"Python {found['python']}; built with {BUILD_THREADS} threads, medians of {options.rounds} rounds"
    )


def write_markdown(path: Path, reports: Sequence[Mapping[str, Any]], about: str) -> None:
    try:
        text = summary.replaced(
            path.read_text(encoding="utf-8"),
            "\n\n".join([about] + [tables(report, markdown=True) for report in reports]),
        )
    except (OSError, ValueError) as error:
        raise SetupError(f"cannot write the tables into {path}: {error}") from error
    write_atomically(path, text)
    print(f"written: {path}")


# The command


def names(text: str) -> List[str]:
    return [name for name in text.split(",") if name]


def parse_arguments(arguments: Optional[List[str]] = None) -> argparse.Namespace:
    standard = [OURS, VARIANT] + [name for name in place.PACKAGES if name != YARDSTICK]
    parser = argparse.ArgumentParser(prog="bench_vectors.py", description=__doc__.split("\n")[0])
    parser.add_argument("--datasets", type=names, default=["minilm", "glove"], metavar="A,B")
    parser.add_argument("--engines", type=names, default=standard, metavar="A,B")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds, 5 by default")
    parser.add_argument("--build-rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long one measurement lasts")
    parser.add_argument("--timeout", type=float, help="seconds any request may take")
    parser.add_argument("--skip-filters", action="store_true")
    parser.add_argument("--skip-churn", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep indexes, masks and logs")
    parser.add_argument("--data-root", type=Path, help="the folder of datasets; in the cache by default")
    parser.add_argument("--report", type=Path, default=PROJECT / "reports" / "vectors.json")
    parser.add_argument("--markdown", type=Path, help="write the tables between the markers of this file")
    parser.add_argument("--ours", nargs=argparse.REMAINDER, default=[], help="this project's command; last")
    parsed = parser.parse_args(arguments)
    unknown = [name for name in parsed.engines if name not in {OURS, VARIANT, *place.PACKAGES}]
    if unknown:
        parser.error(f"no engine {unknown[0]}; there are {', '.join([OURS, VARIANT, *place.PACKAGES])}")
    if min(parsed.rounds, parsed.build_rounds) < 1 or not parsed.datasets or not parsed.engines:
        parser.error("at least one round, one dataset and one engine are needed")
    return parsed


@contextlib.contextmanager
def working_folder(cache: Cache, keep: bool) -> Iterator[Path]:
    """On the cache's disk, because indexes of some engines are large and mapped."""
    if not keep:
        with cache.staging() as folder:
            yield folder
        return
    folder = cache.path("work")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    yield folder
    say("kept", str(folder))


def prepared(cache: Cache, options: argparse.Namespace) -> Tuple[place.Environment, Dict[str, Path]]:
    """The peers' environment and the datasets. Where all is there that this run needs and
    no peer takes part, nothing is installed."""
    peers = [place.PACKAGES[name] for name in options.engines if name in place.PACKAGES]
    root = options.data_root.absolute() if options.data_root else cache.path("vectors")
    environment = place.Environment(cache)
    complete = all(place.is_complete(root / name) for name in options.datasets)
    if peers or not complete or not (options.skip_filters and options.skip_churn):
        environment.ensure(peers)
    return environment, {
        name: place.ensure_dataset(root, name, environment.python, options.ours) for name in options.datasets
    }


def bench(cache: Cache, options: argparse.Namespace) -> bool:
    """Runs it all; whether this project took part to the end."""
    started = time.monotonic()
    environment, folders = prepared(cache, options)
    absent = {
        name: environment.absent[package]
        for name, package in place.PACKAGES.items()
        if package in environment.absent
    }
    reports: List[Dict[str, Any]] = []
    with working_folder(cache, options.keep) as work:
        setting = Bench(options, environment.python, absent, work)
        for name, folder in folders.items():
            reports.append(Run(setting, name, folder).report(first=not reports))
    found = machine()
    about = describe(found, options)
    print("\n" + "\n\n".join([about] + [tables(report, markdown=False) for report in reports]) + "\n")
    write_report(options.report, found, reports)
    if options.markdown:
        write_markdown(options.markdown, reports, about)
    print(f"took {duration(time.monotonic() - started)}")
    ours = [row for report in reports for row in report["rows"]["engines"] if row["engine"] == OURS]
    return not any("absent" in row for row in ours)


def write_report(path: Path, found: Mapping[str, Any], reports: Sequence[Mapping[str, Any]]) -> None:
    """The first dataset's keys at the top, the others' under their names."""
    others = {report["dataset"]: report for report in reports[1:]}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({**reports[0], **others, "machine": found}, indent=2) + "\n")
    print(f"written: {path}")


def main() -> None:
    options = parse_arguments()
    try:
        cache = Cache(cache_folder(os.environ) / "bench")
        with cache.held():
            if not bench(cache, options):
                sys.exit(1)
    except SetupError as error:
        fail(error)
    except OSError as error:
        fail(SetupError(str(error)))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
