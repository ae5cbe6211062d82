"""Fits the combination that the service links questions to schemas with (src/sql/link): two rounds
of LightGBM's trees over the features that `gleaner eval schema --features DIR` writes.

Features whose names begin with `cross_` are what a cross-encoder says; the second round alone sees
them. They have to be of a model that has not seen the question's database.

The first round looks at each column and each table alone. The second sees what the first says of
all others as well; it is fitted on what first-round trees say of databases they were not fitted
on. A fifth of the databases is held out of everything, and all choices are made on it.

    python -m linkers.combine FEATURES... --tables FILE... --out src/sql/link/combination.json.gz
"""

from __future__ import annotations

import argparse
import hashlib
import gzip
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import lightgbm
import numpy as np

from .schema import held_out

FOLDS = 3
#: Of the rows that are not needed so many are taken, with as much more weight.
NEGATIVES = 0.4
PARAMETERS: Dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.1,
    "num_leaves": 20,
    "min_data_in_leaf": 60,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 63,
    "seed": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbose": -1,
}

COLUMNS_AGAIN = (
    "p", "p_rank", "p_gap", "p_table_rank", "p_table_gap", "table_p", "table_p_rank", "table_p_gap",
    "table_next", "table_sum", "other_side_p", "neighbour_p", "neighbour_next", "namesake_p",
    "namesake_table_p", "all_columns_p", "all_tables_p",
)  # fmt: skip
TABLES_AGAIN = (
    "p", "p_rank", "p_gap", "best_p", "sum_p", "neighbour_p", "neighbour_next", "all_columns_p", "all_tables_p",
)  # fmt: skip


@dataclass
class Schema:
    """Of each column its table, those its keys lead to, and the columns of the same name."""

    table: np.ndarray
    others: List[List[int]]
    namesakes: List[List[int]]
    neighbours: List[List[int]]


@dataclass
class Asked:
    database: str
    columns: slice
    tables: slice


class Rows:
    """The features of some questions, and which rows are needed."""

    def __init__(self, folder: Path) -> None:
        self.names = json.loads((folder / "names.json").read_text())
        self.columns, self.columns_cross = apart(folder / "columns.f32", self.names["columns"])
        self.tables, self.tables_cross = apart(folder / "tables.f32", self.names["tables"])
        self.schemas = {}
        for line in (folder / "schemas.jsonl").read_text().splitlines():
            row = json.loads(line)
            self.schemas[row["database"]] = schema(row)
        self.asked: List[Asked] = []
        self.column_needed = np.zeros(len(self.columns), np.float32)
        self.table_needed = np.zeros(len(self.tables), np.float32)
        column = table = 0
        for line in (folder / "questions.jsonl").read_text().splitlines():
            row = json.loads(line)
            asked = Asked(row["database"], slice(column, column + row["columns"]), slice(table, table + row["tables"]))
            self.column_needed[[column + n for n in row["needs"]["columns"]]] = 1
            self.table_needed[[table + n for n in row["needs"]["tables"]]] = 1
            column, table = asked.columns.stop, asked.tables.stop
            self.asked.append(asked)
        assert column == len(self.columns) and table == len(self.tables), folder

    def of(self, wanted: Callable[[str], bool]) -> Tuple[np.ndarray, np.ndarray]:
        """Which rows of columns and of tables are about the databases that are wanted."""
        columns, tables = np.zeros(len(self.columns), bool), np.zeros(len(self.tables), bool)
        for asked in self.asked:
            columns[asked.columns] = tables[asked.tables] = wanted(asked.database)
        return columns, tables


def apart(path: Path, names: Sequence[str]) -> Tuple[np.ndarray, np.ndarray]:
    """Features of both rounds, and those of the second alone, which come last."""
    rows = np.fromfile(path, "<f4").reshape(-1, len(names))
    first = len(own(names))
    return rows[:, :first], rows[:, first:]


def own(names: Sequence[str]) -> List[str]:
    return [name for name in names if not name.startswith("cross_")]


def schema(row: Dict[str, Any]) -> Schema:
    table = np.array(row["table"])
    tables = row["tables"]
    neighbours: List[set] = [set() for _ in range(tables)]
    others: List[set] = [set() for _ in table]
    for a, b, from_columns, to_columns in row["edges"]:
        if a != b:
            neighbours[a].add(b)
            neighbours[b].add(a)
        for column in from_columns:
            others[column].add(b)
        for column in to_columns:
            others[column].add(a)
    return Schema(table, [sorted(x) for x in others], row["namesakes"], [sorted(x) for x in neighbours])


def ranks(figures: np.ndarray) -> np.ndarray:
    """Logarithms of one more than the number of greater ones."""
    greater = len(figures) - np.searchsorted(np.sort(figures), figures, side="right")
    return np.log1p(greater).astype(np.float32)


def two(figures: Sequence[float]) -> Tuple[float, float]:
    first = sorted([*figures, 0.0, 0.0], reverse=True)
    return first[0], first[1]


def again(rows: Rows, columns: np.ndarray, tables: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The second round's features, out of what the first round says (src/sql/link/combination.rs)."""
    of_columns = np.zeros((len(columns), len(COLUMNS_AGAIN)), np.float32)
    of_tables = np.zeros((len(tables), len(TABLES_AGAIN)), np.float32)
    for asked in rows.asked:
        known, p, t = rows.schemas[asked.database], columns[asked.columns], tables[asked.tables]
        own = known.table
        inner = np.zeros((len(p), 3), np.float32)
        best, total = np.zeros(len(t), np.float32), np.zeros(len(t), np.float32)
        for table in range(len(t)):
            inside = own == table
            if not inside.any():
                continue
            most, second = two(p[inside].tolist())
            best[table], total[table] = most, p[inside].sum()
            inner[inside, 0] = ranks(p[inside])
            inner[inside, 1] = p[inside] - most
            inner[inside, 2] = np.where(p[inside] >= most, second, most)
        beside = np.array([two([t[other] for other in around]) for around in known.neighbours], np.float32).reshape(-1, 2)
        place = ranks(t)
        rest = [
            (
                max((t[other] for other in known.others[n]), default=0.0),
                max((p[other] for other in known.namesakes[n]), default=0.0),
                max((t[own[other]] for other in known.namesakes[n]), default=0.0),
            )
            for n in range(len(p))
        ]
        rest_of = np.array(rest, np.float32).reshape(-1, 3)
        everywhere = np.ones(len(p), np.float32)
        of_columns[asked.columns] = np.stack(
            [p, ranks(p), p - p.max(initial=0), inner[:, 0], inner[:, 1], t[own], place[own], t[own] - t.max(initial=0),
             inner[:, 2], total[own], rest_of[:, 0], beside[own, 0], beside[own, 1], rest_of[:, 1], rest_of[:, 2],
             everywhere * p.sum(), everywhere * t.sum()], axis=1)  # fmt: skip
        of_tables[asked.tables] = np.stack(
            [t, place, t - t.max(initial=0), best, total, beside[:, 0], beside[:, 1],
             np.full(len(t), p.sum()), np.full(len(t), t.sum())], axis=1)  # fmt: skip
    return of_columns, of_tables


def fit(x: np.ndarray, y: np.ndarray, rounds: int, **more: Any) -> lightgbm.Booster:
    generator = np.random.default_rng(1)
    taken = (y > 0) | (generator.random(len(y)) < NEGATIVES)
    weight = np.where(y > 0, 1.0, 1.0 / NEGATIVES)[taken]
    return lightgbm.train({**PARAMETERS, **more}, lightgbm.Dataset(x[taken], y[taken], weight=weight), rounds)


def fit_both(x: Tuple[np.ndarray, np.ndarray], y: Tuple[np.ndarray, np.ndarray], rounds: Tuple[int, int]) -> List[lightgbm.Booster]:
    return [fit(x[0], y[0], rounds[0]), fit(x[1], y[1], rounds[1], num_leaves=12, min_data_in_leaf=40)]


def predict(model: lightgbm.Booster, x: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict(x), np.float32)


def fold(database: str) -> int:
    return hashlib.sha256(database.encode("utf-8")).digest()[1] % FOLDS


def trees(model: lightgbm.Booster, features: Sequence[str]) -> Dict[str, Any]:
    """As src/sql/link/trees.rs reads them."""
    found = []
    for entry in model.dump_model()["tree_info"]:
        f: List[int] = []
        t: List[float] = []
        l: List[int] = []
        r: List[int] = []
        v: List[float] = []

        def walk(node: Dict[str, Any]) -> int:
            if "leaf_value" in node:
                v.append(float(f"{node['leaf_value']:.5g}"))
                return -len(v)
            at = len(f)
            f.append(node["split_feature"])
            t.append(below(node["threshold"]))
            l.append(0)
            r.append(0)
            l[at] = walk(node["left_child"])
            r[at] = walk(node["right_child"])
            return at

        walk(entry["tree_structure"])
        found.append({"f": f, "t": t, "l": l, "r": r, "v": v})
    return {"features": list(features), "trees": found}


def below(threshold: float) -> float:
    """The greatest 32-bit number that is not above: rows of such numbers go the same way. In as few digits as
    name it."""
    near = np.float32(threshold)
    if float(near) > threshold:
        near = np.nextafter(near, np.float32(-np.inf))
    return float(str(near))


def second_names(names: Sequence[str], more: Sequence[str]) -> List[str]:
    cross = [name for name in names if name.startswith("cross_")]
    return [*own(names), *(f"again_{name}" for name in more), *cross]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, help="write what is said of held-out questions here")
    arguments = parser.parse_args()
    started = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {what}", flush=True)

    sets = [Rows(folder) for folder in arguments.features]
    names = sets[0].names
    tell(f"{sum(len(rows.asked) for rows in sets)} questions")

    def joined(parts: Sequence[Tuple[np.ndarray, np.ndarray]], wanted: Callable[[str], bool]) -> Tuple[np.ndarray, np.ndarray]:
        masks = [rows.of(wanted) for rows in sets]
        return tuple(np.concatenate([part[kind][mask[kind]] for part, mask in zip(parts, masks)]) for kind in (0, 1))  # type: ignore[return-value]

    x = [(rows.columns, rows.tables) for rows in sets]
    y = [(rows.column_needed, rows.table_needed) for rows in sets]
    said = [(np.zeros(len(rows.columns), np.float32), np.zeros(len(rows.tables), np.float32)) for rows in sets]

    def say(models: Sequence[lightgbm.Booster], wanted: Callable[[str], bool]) -> None:
        for rows, known, features in zip(sets, said, x):
            for kind, mask in enumerate(rows.of(wanted)):
                if mask.any():
                    known[kind][mask] = predict(models[kind], features[kind][mask])

    for n in range(FOLDS):
        others = lambda name: not held_out(name) and fold(name) != n  # noqa: B023, E731
        say(fit_both(joined(x, others), joined(y, others), (150, 100)), lambda name: fold(name) == n)  # noqa: B023
        tell(f"fold {n}")
    used = lambda name: not held_out(name)  # noqa: E731
    first = fit_both(joined(x, used), joined(y, used), (150, 100))
    say(first, held_out)
    tell("first round")
    more = [again(rows, *known) for rows, known in zip(sets, said)]
    cross = [(rows.columns_cross, rows.tables_cross) for rows in sets]
    wide = [tuple(np.concatenate(parts, axis=1) for parts in zip(*three)) for three in zip(x, more, cross)]
    tell("features of the second round")
    second = fit_both(joined(wide, used), joined(y, used), (150, 100))
    tell("second round")

    features = {
        "columns": own(names["columns"]),
        "tables": own(names["tables"]),
        "columns_again": second_names(names["columns"], COLUMNS_AGAIN),
        "tables_again": second_names(names["tables"], TABLES_AGAIN),
    }
    found = {key: trees(model, features[key]) for key, model in zip(features, [*first, *second])}
    databases = {asked.database for rows in sets for asked in rows.asked}
    count = sum(used(asked.database) for rows in sets for asked in rows.asked)
    thresholds = {"small": 0.02, "column": 0.05, "table": 0.5}
    if arguments.out.is_file():
        kept = json.loads(gzip.decompress(arguments.out.read_bytes()))["thresholds"]
    else:
        kept = {mode: thresholds for mode in ("minimal", "balanced", "conservative")}
    description = f"fitted on {count} questions about {sum(map(used, databases))} databases; thresholds chosen on {len(databases) - sum(map(used, databases))} others"
    text = json.dumps({"description": description, "thresholds": kept, **found}, separators=(",", ":"))
    # A tree a line.
    lines = text.replace('},{"f"', '},\n{"f"') + "\n"
    # The same trees make the same file.
    arguments.out.write_bytes(gzip.compress(lines.encode(), mtime=0))
    if arguments.held_out:
        arguments.held_out.mkdir(parents=True, exist_ok=True)
        for folder, rows, features_again in zip(arguments.features, sets, wide):
            for kind, (model, name) in enumerate(zip(second, ("columns", "tables"))):
                predict(model, features_again[kind]).tofile(arguments.held_out / f"{folder.name}-{name}.f32")
    tell("done")


if __name__ == "__main__":
    main()
