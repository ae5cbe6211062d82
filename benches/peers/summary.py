"""What the measurements mean: recall, rates at equal recall, ratios, tables. Pure functions."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

K = 10
GRID = (10, 12, 16, 20, 24, 32, 40, 48, 56, 64, 80, 96, 128, 160, 200, 256, 320, 400)
DEFAULT_EF = 64
TARGET = 0.98
ENOUGH = 0.995
MISSING = 0xFFFFFFFF
TRUTH_DEPTH = 100

OURS = "gleaner"
# Ours, with the graph built by the hnsw_rs crate: neither the contestant nor a peer.
VARIANT = "gleaner-hnsw_rs"
# No rival, only what a reader can check the others against.
YARDSTICK = "exact"
FLAT = ("hnswlib", "faiss-flat")
BUILDERS = ("hnswlib", "faiss-flat", "faiss-sq8", "usearch-f16", "usearch-i8")

BEGIN = "<!-- vectors:begin -->"
END = "<!-- vectors:end -->"


# Recall


def ids_of(path: Path) -> "array[int]":
    ids = array("I")
    with path.open("rb") as file:
        ids.frombytes(file.read())
    return ids


def recall(found: Sequence[int], truth: Sequence[int], queries: int, depth: int, k: int = K) -> float:
    """The part of the k nearest of each of `queries` queries that was found. `truth` has
    `depth` ids a query and may hold more queries than were asked; where fewer than k points
    exist it is the part of those."""
    if len(found) != queries * k or depth < k or len(truth) < queries * depth:
        raise ValueError(f"{len(found)} ids found and {len(truth)} true ones for {queries} queries")
    hits = wanted = 0
    for query in range(queries):
        nearest = {id for id in truth[query * depth : query * depth + k] if id != MISSING}
        hits += len(nearest.intersection(found[query * k : query * k + k]))
        wanted += len(nearest)
    return hits / wanted if wanted else 1.0


# Rates at equal recall


@dataclass
class Point:
    """One width of the beam: how much it finds, queries per second when that was first
    measured, with all cores, and in every timed round."""

    ef: int
    recall: float
    swept: float = 0.0
    one: List[float] = field(default_factory=list)
    all: List[float] = field(default_factory=list)

    def rate(self, cores: str) -> Optional[float]:
        rates: List[float] = getattr(self, cores)
        return median(rates) if rates else None


def median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def bracket(points: Sequence[Point], target: float = TARGET) -> List[Point]:
    """The points that the rate at `target` is between: two neighbours, the one that hits it,
    the first where it is above already, or none where it is never reached."""
    ordered = sorted(points, key=lambda point: point.ef)
    for place, point in enumerate(ordered):
        if point.recall >= target:
            exact = place == 0 or point.recall == target
            return [point] if exact else [ordered[place - 1], point]
    return []


def best(points: Sequence[Point]) -> Point:
    """The point that finds most, the narrowest of equals."""
    return max(points, key=lambda point: (point.recall, -point.ef))


def to_time(points: Sequence[Point], target: float = TARGET) -> List[Point]:
    """What has to be timed to tell the rate at `target`, and at the width all share."""
    chosen = bracket(points, target) or [best(points)]
    shared = [point for point in points if point.ef == DEFAULT_EF]
    return chosen + [point for point in shared if point not in chosen]


def rate_at(points: Sequence[Point], cores: str, target: float = TARGET) -> Optional[float]:
    """Queries per second where recall is `target`: the logarithm of the rate is taken as
    linear in recall between the two points."""
    chosen = bracket(points, target)
    rates = [point.rate(cores) for point in chosen]
    known = [rate for rate in rates if rate is not None]
    if not chosen or len(known) < len(rates):
        return None
    if len(chosen) == 1:
        return known[0]
    below, above = chosen
    part = (target - below.recall) / (above.recall - below.recall)
    return math.exp((1 - part) * math.log(known[0]) + part * math.log(known[1]))


def rounds_for(queries: int, rate: float, seconds: float) -> int:
    """How often all queries are asked so that one measurement lasts about `seconds`."""
    return max(1, min(500, math.ceil(seconds * rate / queries)))


# One dataset


@dataclass
class Measured:
    """All that is known of one engine on one dataset."""

    name: str
    version: str = ""
    settings: str = ""
    absent: str = ""
    build_seconds: Optional[float] = None
    disk_bytes: Optional[int] = None
    open_seconds: Optional[float] = None
    resident_bytes: Optional[int] = None
    points: List[Point] = field(default_factory=list)

    def row(self, count: int) -> Dict[str, Any]:
        """Everything, in plain values, for the report."""
        if self.absent:
            return {"engine": self.name, "version": self.version, "absent": self.absent}
        shared = next((point for point in self.points if point.ef == DEFAULT_EF), None)
        most = best(self.points)
        return {
            "engine": self.name,
            "version": self.version,
            "settings": self.settings,
            "build_s": self.build_seconds,
            "disk_bytes_per_vector": _divided(self.disk_bytes, count),
            "resident_bytes_per_vector": _divided(self.resident_bytes, count),
            "open_ms": _times(self.open_seconds, 1000),
            "recall_ef64": shared.recall if shared else None,
            "qps_ef64": shared.rate("one") if shared else None,
            "qps_ef64_all_cores": shared.rate("all") if shared else None,
            "efs_at_recall": [point.ef for point in bracket(self.points)],
            "qps_at_recall": rate_at(self.points, "one"),
            "qps_at_recall_all_cores": rate_at(self.points, "all"),
            "best": {
                "ef": most.ef,
                "recall": most.recall,
                "qps": most.rate("one"),
                "qps_all_cores": most.rate("all"),
            },
            "points": [
                {
                    "ef": point.ef,
                    "recall": point.recall,
                    "qps": point.rate("one"),
                    "qps_all_cores": point.rate("all"),
                    "qps_swept": point.swept,
                }
                for point in self.points
            ],
        }


def ratio(ours: Optional[float], theirs: Optional[float]) -> Optional[float]:
    return ours / theirs if ours is not None and theirs else None


def _divided(value: Optional[float], count: int) -> Optional[float]:
    return value / count if value is not None else None


def _times(value: Optional[float], factor: float) -> Optional[float]:
    return value * factor if value is not None else None


def _greatest(rows: Iterable[Mapping[str, Any]], key: str) -> Optional[float]:
    return max((row[key] for row in rows if row.get(key) is not None), default=None)


def _least(rows: Iterable[Mapping[str, Any]], key: str) -> Optional[float]:
    return min((row[key] for row in rows if row.get(key) is not None), default=None)


def engine_keys(rows: Sequence[Mapping[str, Any]]) -> Dict[str, Optional[float]]:
    """The ratios of this project to its peers. Rates, build: above 1 is faster than the peer;
    memory: below 1 is smaller. None where either side has nothing to compare."""
    ours: Mapping[str, Any] = next((row for row in rows if row["engine"] == OURS), {})
    peers = {row["engine"]: row for row in rows if row["engine"] not in (OURS, VARIANT, YARDSTICK)}
    flat = [peers[name] for name in FLAT if name in peers]
    builders = [peers[name] for name in BUILDERS if name in peers]
    one, all_cores = "qps_at_recall", "qps_at_recall_all_cores"
    memory = "resident_bytes_per_vector"
    return {
        "recall": ours.get("recall_ef64"),
        "qps_vs_best_flat": ratio(ours.get(one), _greatest(flat, one)),
        "qps_vs_best_any": ratio(ours.get(one), _greatest(peers.values(), one)),
        "qps_vs_best_any_all_cores": ratio(ours.get(all_cores), _greatest(peers.values(), all_cores)),
        "build_vs_fastest": ratio(_least(builders, "build_s"), ours.get("build_s")),
        "memory_vs_hnswlib": ratio(ours.get(memory), peers.get("hnswlib", {}).get(memory)),
        "open_ms": ours.get("open_ms"),
    }


# Filters


@dataclass
class Contest:
    """One way to answer under a filter: the narrowest beam that finds enough, and its rates."""

    label: str
    swept: float = 0.0
    ef: Optional[int] = None
    recall: Optional[float] = None
    reached: bool = False
    rates: List[float] = field(default_factory=list)
    queries: int = 0
    trouble: str = ""

    def rate(self) -> Optional[float]:
        return median(self.rates) if self.rates else None

    def row(self, part: int) -> Dict[str, Any]:
        return {
            "passes_one_in": part,
            "engine": self.label,
            "ef": self.ef,
            "recall": self.recall,
            "reached": self.reached,
            "qps": self.rate(),
            "queries": self.queries,
            **({"absent": self.trouble} if self.trouble else {}),
        }


PLANNER = f"{OURS} planner"
STRATEGIES: Mapping[str, str] = {name: f"{OURS} {name}" for name in ("scan", "walk", "post")}


def filter_keys(
    rows: Sequence[Mapping[str, Any]], recalls: Mapping[int, float]
) -> Dict[str, Optional[float]]:
    """The least over the filters of: the planner's recall at the default width, and its rate
    against the best strategy forced, and hnswlib, where each first finds enough. A planner
    that never does counts as 0."""
    parts = sorted({int(row["passes_one_in"]) for row in rows})
    forced: List[Optional[float]] = []
    against_hnswlib: List[Optional[float]] = []
    for part in parts:
        if not any(row["engine"] == PLANNER for row in rows if row["passes_one_in"] == part):
            continue
        rates = {row["engine"]: row["qps"] for row in _reached(rows, part)}
        planner = rates.get(PLANNER, 0.0)
        single = [rates[label] for label in STRATEGIES.values() if label in rates]
        forced.append(ratio(planner, max(single, default=None)))
        against_hnswlib.append(ratio(planner, rates.get("hnswlib")))
    return {
        "filtered_min_recall": min(recalls.values(), default=None),
        "filtered_min_ratio": _minimum(forced),
        "filtered_vs_hnswlib": _minimum(against_hnswlib),
    }


def _reached(rows: Sequence[Mapping[str, Any]], part: int) -> List[Mapping[str, Any]]:
    return [row for row in rows if row["passes_one_in"] == part and row["reached"] and row["qps"]]


def _minimum(values: Iterable[Optional[float]]) -> Optional[float]:
    return min((value for value in values if value is not None), default=None)


# Tables

Table = Tuple[List[str], List[List[str]]]


def number(value: Optional[float], digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def engine_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Fastest at equal recall first; then those that never reach it; then the absent."""
    heads = ["engine", "version", "build s", "disk B", "memory B", "open ms", "recall@10"]
    heads += ["q/s", "q/s all cores", f"q/s at {TARGET:.2f}", "all cores", "ef"]
    cells: List[List[str]] = []
    for row in sorted(rows, key=_place):
        if "absent" in row:
            cells.append([row["engine"], row["version"] or "-"] + ["-"] * (len(heads) - 2))
            continue
        efs = "-".join(str(ef) for ef in row["efs_at_recall"])
        most = row["best"]
        cells.append(
            [
                row["engine"],
                row["version"],
                number(row["build_s"], 1),
                number(row["disk_bytes_per_vector"]),
                number(row["resident_bytes_per_vector"]),
                number(row["open_ms"], 1),
                number(row["recall_ef64"], 4),
                number(row["qps_ef64"]),
                number(row["qps_ef64_all_cores"]),
                number(row["qps_at_recall"]),
                number(row["qps_at_recall_all_cores"]),
                efs or f"never: {most['recall']:.4f} at {most['ef']}",
            ]
        )
    return heads, cells


def _place(row: Mapping[str, Any]) -> Tuple[int, float]:
    if "absent" in row:
        return 2, 0.0
    rate = row["qps_at_recall"]
    return (0, -rate) if rate is not None else (1, -row["best"]["recall"])


def filter_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    heads = ["passes", "answered by", "ef", "recall@10", "q/s", "queries"]
    cells: List[List[str]] = []
    for row in rows:
        reached = row["reached"] or "absent" in row
        cells.append(
            [
                f"1/{row['passes_one_in']}",
                row["engine"],
                str(row["ef"] or "-"),
                number(row["recall"], 4) + ("" if reached else " (too low)"),
                number(row["qps"]),
                str(row["queries"] or "-"),
            ]
        )
    return heads, cells


def keys_table(keys: Mapping[str, Any]) -> Table:
    plain = {name: value for name, value in keys.items() if value is None or isinstance(value, (int, float))}
    return ["key", "value"], [[name, number(value, 4)] for name, value in plain.items()]


def as_text(table: Table) -> str:
    heads, rows = table
    widths = [max(len(row[column]) for row in [heads] + rows) for column in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        first = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2])]
        return "  ".join(first + [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:])]).rstrip()

    return "\n".join(line(cells) for cells in [heads] + rows)


def as_markdown(table: Table) -> str:
    heads, rows = table
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def replaced(text: str, inside: str) -> str:
    """`text` with what lies between the markers replaced; ValueError where they are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{BEGIN} and {END} are not in it")
    return f"{before}{BEGIN}\n{inside.strip()}\n{END}{after}"
