"""The tables of docs/rerankers.md, from reports/rerankers, training/measured/rerankers and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, List

import numpy as np

from encoders.significance import paired

from .card import report_table
from .recipe import WAYS
from .study import CHOOSING
from .thinning import STRENGTHS

TITLES = {
    "words": "plain, negatives from BM25",
    "hard": "plain, hard negatives from the fusion",
    "random": "half of the hard negatives random",
    "cet": "hard negatives, coupled estimation",
}
MEASURES = ("ndcg@10", "mrr@10")


def tables(reports: Path, measured: Path) -> str:
    parts = [shipped(reports, measured)]
    for folder in sorted(path for path in measured.glob("*") if (path / "first-stage.json").is_file()):
        parts.append(study(folder))
    return "\n\n".join(part for part in parts if part) or "Nothing has been measured yet."


def shipped(reports: Path, measured: Path) -> str:
    """Whole runs: of reports/rerankers, and of those that are kept where there is none of the name."""
    parts = []
    paths = {path.name: path for folder in (measured, reports / "rerankers") for path in folder.glob("*.json")}
    for _, path in sorted(paths.items()):
        report = json.loads(path.read_text(encoding="utf-8"))
        part = f" on the first {report['queries']} queries" if report.get("queries") else ""
        parts.append(
            f"### `{report['name']}`\n\nThe first stage's best {report.get('depth', 100)} re-ranked with a weight of "
            f"{report['chosen']['weight']:g}{part}; {report['when'][:10]}.\n\n" + "\n".join(report_table(report))
        )
    return "\n\n".join(parts)


def study(folder: Path) -> str:
    """Means over the seeds with each seed's; p over the queries, each query's value averaged over the seeds."""
    first = json.loads((folder / "first-stage.json").read_text(encoding="utf-8"))
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("run-*.json"))]
    recipe = first["recipe"]
    steps = sum(stage["steps"] for stage in recipe["stages"])
    lines = [
        f"### Thinned judgments, `{folder.name}`",
        "",
        f"{recipe['base']}, {steps} steps of {recipe['queries']} queries, texts cut at {recipe['train_tokens']} tokens, learning rate {recipe['learning_rate']:g}.",
        f"The first stage as it is: nDCG@10 {first['means']['ndcg@10']:.4f}, MRR@10 {first['means']['mrr@10']:.4f}.",
    ]
    choosing = [row for row in found if row["seed"] == CHOOSING]
    if choosing:
        taus = ", ".join(f"{row['tau']:g}: {row['means']['ndcg@10']:.4f}" for row in sorted(choosing, key=lambda row: row["tau"]))
        lines += [f"tau by nDCG@10 on held-out training queries, seed {CHOOSING}, strong bias: {taus}."]
    for strength in STRENGTHS:
        rows = [row for row in found if row["strength"] == strength and row["seed"] != CHOOSING]
        if not rows:
            continue
        about = first["thinned"][strength]
        lines += [
            "",
            f"**{strength.capitalize()} bias** (depth {about['depth']}): {about['queries']} of {about['all_queries']} queries keep a judgment, "
            f"{about['judged_per_query']} of {about['all_judged_per_query']} each; of the negatives "
            f"{about['false_negatives']['words']:.1%} from BM25 and {about['false_negatives']['hard']:.1%} from the fusion are relevant.",
            "",
            "| way | seeds | nDCG@10 | each seed | MRR@10 | nDCG@10 against plain hard | p | weights: mean, largest, clipped |",
            "|---|---|---|---|---|---|---|---|",
        ]
        by_way = {way: sorted((row for row in rows if row["way"] == way), key=lambda row: row["seed"]) for way in WAYS}
        for way in WAYS:
            if by_way[way]:
                lines.append(line(way, by_way[way], by_way["hard"]))
    if len([row for row in found if row["seed"] != CHOOSING]) < len(STRENGTHS) * len(WAYS) * 3:
        lines += ["", "Not all of the runs have been made yet."]
    return "\n".join(lines)


def averaged(rows: List[Dict[str, object]], key: str) -> np.ndarray:
    return np.mean([np.array(row["queries"][key]) for row in rows], axis=0)


def line(way: str, rows: List[Dict[str, object]], plain: List[Dict[str, object]]) -> str:
    ndcg = averaged(rows, "ndcg@10")
    each = ", ".join(f"{row['means']['ndcg@10']:.4f}" for row in rows)
    compared = "- | -"
    # Of the same seeds, so that one way's missing runs do not count against it.
    seeds = {row["seed"] for row in rows} & {row["seed"] for row in plain}
    if way != "hard" and seeds:
        one, other = (averaged([row for row in some if row["seed"] in seeds], "ndcg@10") for some in (rows, plain))
        compared = f"{one.mean() - other.mean():+.4f} | {paired(one, other):.4f}"
    weights = "-"
    if way == "cet":
        logs = [row["log"] for row in rows]
        mean, most, clipped = (np.mean([log[key] for log in logs]) for key in ("weight_mean", "weight_max", "weight_clipped"))
        weights = f"{mean:.2f}, {most:.2f}, {clipped:.1%} (tau {rows[0]['tau']:g})"
    return f"| {TITLES[way]} | {len(rows)} | {ndcg.mean():.4f} | {each} | {averaged(rows, 'mrr@10').mean():.4f} | {compared} | {weights} |"
