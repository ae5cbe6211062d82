"""Tests of the vector benchmark: offline, with the standard library and an engine of their own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest
from array import array
from pathlib import Path
from typing import Any, Dict, List, Sequence
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bench_vectors  # noqa: E402
import client  # noqa: E402
import place  # noqa: E402
import summary  # noqa: E402
from cache import Cache  # noqa: E402
from console import SetupError  # noqa: E402
from summary import MISSING, OURS, PLANNER, Measured, Point  # noqa: E402

POINTS, WIDTH, QUERIES = 130, 4, 6

# Speaks the protocol and finds, of the points it looks at, the nearest: a beam of 64 looks
# at all. What it does wrong is named by the environment.
ENGINE = """
import json, os, sys, time
from array import array
WIDTH, MISSING = 4, 0xFFFFFFFF
wrong = os.environ.get("WRONG", "")
def rows(path):
    numbers = array("f"); numbers.frombytes(open(path, "rb").read())
    return [numbers[at:at + WIDTH] for at in range(0, len(numbers), WIDTH)]
def nearest(query, ids, k):
    score = lambda id: (-sum(a * b for a, b in zip(query, base[id])), id)
    found = sorted(ids, key=score)[:k]
    return found + [MISSING] * (k - len(found))
def answer(request):
    global base, queries, alive
    op = request["op"]
    if op == wrong == "build":
        print("no space for the graph", file=sys.stderr); sys.exit(3)
    if op == "search" and wrong == "hang": time.sleep(60)
    if op == "build":
        base = rows(request["data"] + "/base.f32"); return {"seconds": 0.5}
    if op == "save":
        os.mkdir(request["path"])
        with open(request["path"] + "/base", "wb") as file:
            for row in base: row.tofile(file)
        return {"bytes": len(base) * WIDTH * 4}
    if op == "open":
        base = rows(request["path"] + "/base"); queries = rows(request["data"] + "/queries.f32")
        alive = set(range(len(base))); return {"seconds": 0.002}
    if op == "churn":
        gone = open(request["delete"], "rb").read(); base += rows(request["insert"])
        alive = {id for id in range(len(base)) if id >= len(gone) or not gone[id]}
        return {"seconds": 0.1}
    if op == "search":
        if request["strategy"] == "walk": return {"error": "no walk"}
        asked = queries[:request["limit"]]
        passing = open(request["filter"], "rb").read() if request["filter"] else None
        seen = [id for id in sorted(alive) if id % 64 < request["ef"] and (not passing or passing[id])]
        ids = array("I", [id for query in asked for id in nearest(query, seen, request["k"])])
        with open(request["out"], "wb") as file: ids.tofile(file)
        seconds = 0.01 * request["ef"] / request["threads"]
        return {"seconds": seconds, "queries": len(asked) * request["rounds"]}
    return {"error": "unknown operation"}
if sys.argv[1] == "prepare":
    sys.exit(7)
for line in sys.stdin:
    request = json.loads(line)
    if request["op"] == "quit": break
    print("nonsense" if wrong == "nonsense" else json.dumps(answer(request)), flush=True)
"""


def write_numbers(path: Path, kind: str, values: Sequence[Any]) -> None:
    with path.open("wb") as file:
        array(kind, values).tofile(file)


def vectors(count: int, seed: int) -> List[List[float]]:
    """Spread over a sphere, the same in every run."""
    state = seed
    rows = []
    for _ in range(count):
        row = []
        for _ in range(WIDTH):
            state = (state * 1103515245 + 12345) % 2**31
            row.append(state / 2**30 - 1)
        length = sum(value * value for value in row) ** 0.5
        rows.append([array("f", [value / length])[0] for value in row])
    return rows


def true_ids(base: Dict[int, List[float]], queries: Sequence[Sequence[float]]) -> List[int]:
    found: List[int] = []
    for query in queries:

        def place_of(id: int, query: Sequence[float] = query) -> Any:
            return -sum(a * b for a, b in zip(query, base[id])), id

        nearest = sorted(base, key=place_of)[: summary.TRUTH_DEPTH]
        found += nearest + [MISSING] * (summary.TRUTH_DEPTH - len(nearest))
    return found


BASE = dict(enumerate(vectors(POINTS, 1)))
ASKED = vectors(QUERIES, 2)


def write_dataset(folder: Path) -> None:
    folder.mkdir(parents=True)
    write_numbers(folder / "base.f32", "f", [value for row in BASE.values() for value in row])
    write_numbers(folder / "queries.f32", "f", [value for row in ASKED for value in row])
    write_numbers(folder / "truth.u32", "I", true_ids(BASE, ASKED))
    meta = {"name": folder.name, "dimensions": WIDTH, "count": POINTS, "queries": QUERIES}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def numpy_step(python: Path, step: str, folder: Path, out: Path, *rest: Any) -> None:
    """What data.py writes, without numpy."""
    if step == "filters":
        for part in rest[1:]:
            passing = {id: row for id, row in BASE.items() if id % part == 0}
            (out / f"pass-{part}.u8").write_bytes(bytes(id % part == 0 for id in BASE))
            write_numbers(out / f"pass-{part}.truth.u32", "I", true_ids(passing, ASKED))
        return
    coming = vectors(POINTS // 2, 3)
    (out / "delete.u8").write_bytes(bytes(id % 2 for id in BASE))
    write_numbers(out / "insert.f32", "f", [value for row in coming for value in row])
    alive = {id: row for id, row in BASE.items() if id % 2 == 0}
    alive.update({POINTS + at: row for at, row in enumerate(coming)})
    write_numbers(out / "churn.truth.u32", "I", true_ids(alive, ASKED))


class Recall(unittest.TestCase):
    def test_counts_the_nearest_that_were_found_in_any_order(self) -> None:
        truth = [3, 1, 2, 9] + [7, 8, 5, 9]
        self.assertEqual(summary.recall([1, 3, 8, 0], truth, 2, depth=4, k=2), 0.75)

    def test_is_of_those_that_exist(self) -> None:
        truth = [4, MISSING, MISSING]
        self.assertEqual(summary.recall([4, MISSING], truth, 1, depth=3, k=2), 1.0)
        self.assertEqual(summary.recall([MISSING, MISSING], truth, 1, depth=3, k=2), 0.0)

    def test_looks_only_at_the_queries_asked(self) -> None:
        self.assertEqual(summary.recall([1], [1, 2, 3, 4], 1, depth=2, k=1), 1.0)

    def test_refuses_what_does_not_fit(self) -> None:
        for found, truth in (([1], [1, 2]), ([1, 2], [1])):
            with self.assertRaises(ValueError):
                summary.recall(found, truth, 1, depth=2, k=2)


def points(*found: Any) -> List[Point]:
    return [Point(ef, recall, one=[rate], all=[rate * 2]) for ef, recall, rate in found]


class RateAtRecall(unittest.TestCase):
    def test_lies_between_the_two_neighbours(self) -> None:
        measured = points((32, 0.96, 4000.0), (40, 0.97, 2000.0), (48, 0.99, 1000.0), (64, 0.995, 500.0))
        self.assertEqual([point.ef for point in summary.bracket(measured)], [40, 48])
        # Half way in recall is half way in the logarithm of the rate.
        rate = summary.rate_at(measured, "one")
        assert rate is not None
        self.assertAlmostEqual(rate, 2000.0 / 2**0.5, places=6)

    def test_is_the_point_itself_where_one_hits(self) -> None:
        measured = points((40, 0.97, 2000.0), (48, 0.98, 1500.0), (64, 0.99, 1000.0))
        self.assertEqual(summary.rate_at(measured, "one"), 1500.0)
        self.assertEqual(summary.rate_at(measured, "all"), 3000.0)

    def test_is_the_first_point_where_all_are_above(self) -> None:
        self.assertEqual(summary.rate_at(points((10, 0.99, 900.0), (12, 0.995, 800.0)), "one"), 900.0)

    def test_does_not_exist_below(self) -> None:
        measured = points((10, 0.9, 900.0), (64, 0.95, 300.0), (400, 0.95, 100.0))
        self.assertIsNone(summary.rate_at(measured, "one"))
        self.assertEqual(summary.best(measured).ef, 64)
        self.assertEqual([point.ef for point in summary.to_time(measured)], [64])

    def test_is_unknown_before_it_was_timed(self) -> None:
        self.assertIsNone(summary.rate_at([Point(10, 0.97), Point(12, 0.99)], "one"))

    def test_takes_the_median_of_the_rounds(self) -> None:
        measured = [Point(10, 0.98, one=[100.0, 900.0, 300.0])]
        self.assertEqual(summary.rate_at(measured, "one"), 300.0)

    def test_the_shared_width_is_timed_too_and_once(self) -> None:
        apart = points((40, 0.97, 1.0), (48, 0.99, 1.0), (64, 0.995, 1.0))
        within = points((56, 0.97, 1.0), (64, 0.99, 1.0))
        self.assertEqual([point.ef for point in summary.to_time(apart)], [40, 48, 64])
        self.assertEqual([point.ef for point in summary.to_time(within)], [56, 64])

    def test_rounds_fill_the_time(self) -> None:
        self.assertEqual(summary.rounds_for(1000, 20_000.0, 0.5), 10)
        self.assertEqual(summary.rounds_for(1000, 100.0, 0.5), 1)


def row(name: str, rate: Any, build: Any = None, memory: Any = None) -> Dict[str, Any]:
    measured = Measured(name, build_seconds=build, resident_bytes=memory, open_seconds=0.003)
    measured.points = [Point(64, 0.98 if rate else 0.9, one=[rate or 1.0], all=[(rate or 1.0) * 2])]
    return measured.row(100)


class Keys(unittest.TestCase):
    def test_compare_with_the_best_of_each_kind(self) -> None:
        rows = [
            row(OURS, 900.0, build=10.0, memory=60_000),
            row("hnswlib", 300.0, build=40.0, memory=120_000),
            row("faiss-flat", 450.0, build=30.0),
            row("svs-f16", 600.0, build=5.0),
            row("exact", 9000.0, build=0.1),
            row("usearch-i8", None, build=20.0),
        ]
        keys = summary.engine_keys(rows)
        self.assertEqual(keys["recall"], 0.98)
        self.assertEqual(keys["qps_vs_best_flat"], 2.0)
        self.assertEqual(keys["qps_vs_best_any"], 1.5)
        self.assertEqual(keys["qps_vs_best_any_all_cores"], 1.5)
        # svs builds another kind of graph; usearch counts though its recall stays low.
        self.assertEqual(keys["build_vs_fastest"], 2.0)
        self.assertEqual(keys["memory_vs_hnswlib"], 0.5)
        self.assertEqual(keys["open_ms"], 3.0)

    def test_are_empty_where_there_is_nothing_to_compare(self) -> None:
        keys = summary.engine_keys([row("hnswlib", 300.0), Measured(OURS, absent="crashed").row(100)])
        self.assertEqual(set(keys.values()), {None})
        self.assertIsNone(summary.engine_keys([row(OURS, 300.0)])["qps_vs_best_any"])

    def contest(self, part: int, label: str, rate: float, reached: bool = True) -> Dict[str, Any]:
        return summary.Contest(label, 10, rates=[rate], reached=reached).row(part)

    def test_filters_take_the_worst_case(self) -> None:
        rows = [
            self.contest(2, PLANNER, 100.0),
            self.contest(2, f"{OURS} scan", 50.0),
            self.contest(2, f"{OURS} walk", 80.0),
            self.contest(2, "hnswlib", 20.0),
            self.contest(10, PLANNER, 90.0),
            self.contest(10, f"{OURS} scan", 100.0),
            self.contest(10, f"{OURS} walk", 400.0, reached=False),
            self.contest(10, "hnswlib", 10.0, reached=False),
        ]
        keys = summary.filter_keys(rows, {2: 0.99, 10: 0.97})
        self.assertEqual(
            keys, {"filtered_min_recall": 0.97, "filtered_min_ratio": 0.9, "filtered_vs_hnswlib": 5.0}
        )

    def test_a_planner_that_finds_too_little_counts_as_none(self) -> None:
        rows = [self.contest(2, PLANNER, 900.0, reached=False), self.contest(2, f"{OURS} scan", 50.0)]
        self.assertEqual(summary.filter_keys(rows, {2: 0.5})["filtered_min_ratio"], 0.0)
        self.assertIsNone(summary.filter_keys([self.contest(2, "hnswlib", 1.0)], {})["filtered_vs_hnswlib"])


class Tables(unittest.TestCase):
    def test_the_fastest_at_equal_recall_come_first_and_the_absent_last(self) -> None:
        rows = [
            Measured("lancedb", absent="cannot be installed").row(100),
            row("usearch-i8", None),
            row("hnswlib", 300.0),
            row(OURS, 900.0),
        ]
        heads, cells = summary.engine_table(rows)
        self.assertEqual([cell[0] for cell in cells], [OURS, "hnswlib", "usearch-i8", "lancedb"])
        self.assertTrue(all(len(cell) == len(heads) for cell in cells))
        self.assertIn("never", cells[2][-1])

    def test_columns_line_up(self) -> None:
        text = summary.as_text((["a", "b", "c"], [["long name", "x", "1"], ["s", "yy", "1,000"]]))
        self.assertEqual(
            text.splitlines(), ["a          b       c", "long name  x       1", "s          yy  1,000"]
        )

    def test_markdown_replaces_only_what_is_between_the_markers(self) -> None:
        page = f"before\n{summary.BEGIN}\nold\n{summary.END}\nafter\n"
        self.assertEqual(
            summary.replaced(page, "new\n"), f"before\n{summary.BEGIN}\nnew\n{summary.END}\nafter\n"
        )
        for page in ("none", summary.BEGIN, f"{summary.END} {summary.BEGIN}"):
            with self.assertRaises(ValueError):
                summary.replaced(page, "new")


class Small(unittest.TestCase):
    def test_memory_counts_huge_pages_too(self) -> None:
        rollup = "5-7 ---p [rollup]\nRss: 90 kB\nPss: 10 kB\nPss_Anon: 8 kB\nPrivate_Hugetlb: 4 kB\n"
        self.assertEqual(client.pss_of(rollup), 14 * 1024)

    def test_requirements_pin_every_package_that_is_measured(self) -> None:
        pins = place.pinned(place.REQUIREMENTS.read_text(encoding="utf-8"))
        self.assertLessEqual({place.FOUNDATION, *place.PACKAGES.values()}, set(pins))
        self.assertTrue(all(line == f"{name}=={line.split('==')[1]}" for name, line in pins.items()))

    def test_every_peer_has_an_engine(self) -> None:
        text = (place.PEERS_FOLDER / "engine.py").read_text(encoding="utf-8")
        for name in place.PACKAGES:
            self.assertIn(f'"{name}": ', text)

    def test_ours_takes_the_rest_of_the_line(self) -> None:
        options = bench_vectors.parse_arguments(["--engines", "gleaner,exact", "--ours", "a", "--b", "c"])
        self.assertEqual(options.ours, ["a", "--b", "c"])
        with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit):
            bench_vectors.parse_arguments(["--engines", "unknown"])


class WithEngine(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.script = self.folder / "ours.py"
        self.script.write_text(ENGINE, encoding="utf-8")
        self.command = [sys.executable, str(self.script)]


class Processes(WithEngine):
    def engine(self, wrong: str = "", limit: float = 30.0) -> client.Engine:
        environment = {**os.environ, "WRONG": wrong}
        cores = set(client.all_cores())
        engine = client.Engine(self.command + ["engine"], self.folder / "log", environment, cores, limit)
        self.addCleanup(engine.kill)
        return engine

    def test_an_error_is_an_answer(self) -> None:
        engine = self.engine()
        for _ in range(2):
            with self.assertRaisesRegex(client.EngineError, "hello: unknown operation") as raised:
                engine.request("hello")
            self.assertNotIsInstance(raised.exception, client.EngineLost)
        self.assertGreater(engine.resident_bytes(), 100_000)
        engine.quit()
        with self.assertRaises(client.EngineLost):
            engine.request("hello")

    def test_an_end_is_told_with_the_last_words(self) -> None:
        with self.assertRaisesRegex(
            client.EngineLost, r"ended at build \(status 3\): no space for the graph"
        ):
            self.engine("build").request("build", data=".")

    def test_who_hangs_is_ended(self) -> None:
        engine = self.engine("hang", limit=0.5)
        with self.assertRaisesRegex(client.EngineLost, "no answer to search"):
            engine.request("search")
        self.assertTrue(engine.closed)

    def test_nonsense_ends_it(self) -> None:
        with self.assertRaisesRegex(client.EngineLost, "no JSON object: 'nonsense'"):
            self.engine("nonsense").request("hello")

    def test_what_is_not_there_cannot_start(self) -> None:
        with self.assertRaisesRegex(client.EngineLost, "cannot start"):
            client.Engine([str(self.folder / "none")], self.folder / "log", os.environ, {0})

    def test_cores_are_kept_and_ours_are_not_touched(self) -> None:
        before = client.all_cores()
        engine = self.engine()
        engine.use_cores({before[-1]})
        self.assertEqual(os.sched_getaffinity(engine._process.pid), {before[-1]})
        self.assertEqual(client.all_cores(), before)


class EndToEnd(WithEngine):
    def setUp(self) -> None:
        super().setUp()
        write_dataset(self.folder / "vectors" / "tiny")
        write_dataset(self.folder / "vectors" / "other")
        self.report = self.folder / "reports" / "vectors.json"

    def run_bench(self, *arguments: str, wrong: str = "", absent: Sequence[str] = ()) -> bool:
        given = ["--data-root", str(self.folder / "vectors"), "--report", str(self.report)]
        given += ["--rounds", "2", "--seconds", "0", "--timeout", "20", *arguments, "--ours", *self.command]
        options = bench_vectors.parse_arguments(given)
        cache = Cache(self.folder / "cache")

        def ensure(environment: place.Environment, packages: Sequence[str]) -> None:
            environment.absent = {name: "cannot be installed: no such wheel" for name in absent}

        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.dict(os.environ, {"WRONG": wrong}))
            stack.enter_context(mock.patch.object(place, "numpy_step", numpy_step))
            stack.enter_context(mock.patch.object(place.Environment, "ensure", ensure))
            stack.enter_context(mock.patch.object(bench_vectors, "PAUSE", 0.0))
            self.said = stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(cache.held())
            return bench_vectors.bench(cache, options)

    def read(self) -> Dict[str, Any]:
        return dict(json.loads(self.report.read_text(encoding="utf-8")))

    def test_measures_everything_and_reports_who_is_absent(self) -> None:
        page = self.folder / "page.md"
        page.write_text(f"# Page\n{summary.BEGIN}\n{summary.END}\n", encoding="utf-8")
        took_part = self.run_bench(
            "--datasets",
            "tiny,other",
            "--engines",
            f"{OURS},hnswlib",
            "--markdown",
            str(page),
            absent=["hnswlib"],
        )
        self.assertTrue(took_part)
        report = self.read()
        ours, hnswlib = report["rows"]["engines"]
        self.assertEqual(hnswlib["absent"], "cannot be installed: no such wheel")
        self.assertEqual(ours["recall_ef64"], 1.0)
        self.assertEqual(ours["build_s"], 0.5)
        self.assertEqual(ours["disk_bytes_per_vector"], WIDTH * 4)
        self.assertEqual(ours["efs_at_recall"], [56, 64])
        # The engine says that a beam of ef takes ef / 100 s: the rate falls as it widens.
        self.assertLess(ours["qps_ef64"], ours["qps_at_recall"])
        self.assertEqual(report["recall"], 1.0)
        self.assertIsNone(report["qps_vs_best_any"])
        self.assertEqual(report["filtered_min_recall"], 1.0)
        self.assertGreater(report["filtered_min_ratio"], 0.9)
        self.assertEqual(report["recall_change_after_deletes"], 0.0)
        self.assertEqual(report["rows"]["churn"]["recall_after"], 1.0)
        walks = [row for row in report["rows"]["filters"] if row["engine"] == f"{OURS} walk"]
        self.assertEqual({row["absent"] for row in walks}, {"search: no walk"})
        self.assertEqual(report["other"]["recall"], 1.0)
        self.assertNotIn("filters", report["other"]["rows"])
        text = page.read_text(encoding="utf-8")
        self.assertIn("| hnswlib |", text)
        self.assertIn("cannot be installed", self.said.getvalue())
        self.assertEqual(list((self.folder / "cache").glob(".partial-*")), [])

    def test_a_crash_is_reported_and_fails_the_run_where_it_is_ours(self) -> None:
        only = ["--datasets", "tiny", "--engines", OURS, "--skip-filters", "--skip-churn"]
        self.assertFalse(self.run_bench(*only, wrong="build"))
        self.assertIn("no space for the graph", self.read()["rows"]["engines"][0]["absent"])
        self.assertIsNone(self.read()["recall"])

    def test_a_hang_is_reported(self) -> None:
        only = ["--datasets", "tiny", "--engines", OURS, "--skip-filters", "--skip-churn"]
        self.assertFalse(self.run_bench(*only, "--timeout", "1", wrong="hang"))
        self.assertIn("no answer to search", self.read()["rows"]["engines"][0]["absent"])

    def test_a_dataset_that_cannot_be_prepared_leaves_nothing(self) -> None:
        with self.assertRaisesRegex(SetupError, "preparing missing ended with status 7"):
            self.run_bench("--datasets", "missing")
        self.assertFalse((self.folder / "vectors" / "missing").exists())
        self.assertEqual(list((self.folder / "vectors").glob(".partial-*")), [])


if __name__ == "__main__":
    unittest.main()
