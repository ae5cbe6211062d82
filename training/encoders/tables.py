"""The tables of docs/encoders.md, from reports/encoders and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, List, Sequence

import numpy as np

from .compare import rows
from .data import EVALUATION
from .pooling import NAMES
from .run import standing
from .significance import paired, shown

BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
TITLES = {
    "as-it-is": "as it is, mean",
    "mean": "mean",
    "cls": "first token",
    "last": "last token",
    "weighted_mean": "weighted mean",
    "latent_attention": "latent attention",
    "multi_layer": "multi-layer",
}


def tables(reports: Path) -> str:
    parts = [
        "The whole encoder trained, on a GPU (`training/recipes/whole.toml`).\n\n" + text
        if (text := poolings("whole", reports))
        else "",
        "The last layer and the pooling trained (`training/recipes/poolings.toml`).\n\n" + text
        if (text := poolings("poolings", reports))
        else "",
    ]
    return "\n\n".join(part for part in parts if part)


def per_query(found: Sequence[Dict[str, object]], collection: str, key: str) -> np.ndarray:
    """Every query's value, averaged over the seeds."""
    return np.mean([np.array(report["queries"][collection][key]) for report in found], axis=0)


def stars(p: float) -> str:
    return "*" if p < 0.05 else ""


def speeds(reports: Path) -> Dict[str, str]:
    """Milliseconds a query and passages a second by pooling."""
    path = reports / "encoders-speed.json"
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))["poolings"]
    cells = {name: f"{row['ms_per_query']:.2f} / {row['passages_per_second']:.0f}" for name, row in found.items()}
    return {name: cells.get(name, cells["mean"]) for name in (*NAMES, "as-it-is")}


def held_out(found: Sequence[Dict[str, object]]) -> str:
    """What runs are chosen by, on held-out queries: the mean over the seeds."""
    rows = [report["validation"] for report in found if report.get("validation")]
    return f"{np.mean([standing(row) for row in rows]):.3f}" if rows else "-"


def line(title: str, found: Sequence[Dict[str, object]], base: Sequence[Dict[str, object]], extra: str) -> str:
    cells = []
    for collection in EVALUATION:
        ndcg, recall = (per_query(found, collection, key) for key in ("ndcg@10", "recall@100"))
        mark = "" if found is base else stars(paired(ndcg, per_query(base, collection, "ndcg@10")))
        cells.append(f"{ndcg.mean():.3f}{mark} / {recall.mean():.3f}")
    mean = np.mean([per_query(found, collection, "ndcg@10").mean() for collection in EVALUATION])
    return f"| {title} | {held_out(found)} | {' | '.join(cells)} | {mean:.4f} | {extra} |"


def header(last: str) -> List[str]:
    names = [f"{name} {split}" for name, split in EVALUATION.items()]
    return [f"| | held out | {' | '.join(names)} | mean nDCG@10 | {last} |", "|---" * (len(names) + 4) + "|"]


def poolings(name: str, reports: Path) -> str:
    found = rows(name, reports)
    if "as-it-is" not in found:
        return ""
    base = found["as-it-is"]
    lines = ["nDCG@10 / recall@100, means over the seeds; * differs from the first row, p < .05. Held out: what is "
             "chosen by, nDCG@10, sources that were trained on and the one that was not counting half each.", ""]
    lines += header("p against the mean, four sets pooled; each seed's mean | ms a query / passages a second")
    lines[-1] += "---|"
    costs = speeds(reports)
    for pooling in ("as-it-is", *NAMES):
        if pooling not in found:
            continue
        runs = found[pooling]
        extra = ""
        if pooling != "as-it-is":
            each = [np.mean([r["means"][c]["ndcg@10"] for c in EVALUATION]) for r in runs]
            extra = ", ".join(f"{value:.4f}" for value in each)
            if pooling != "mean" and "mean" in found:
                extra = f"{shown(pooled_p(runs, found['mean']))}; {extra}"
        lines.append(line(TITLES[pooling], runs, base, f"{extra} | {costs.get(pooling, '-')}"))
    return "\n".join(lines)


def pooled_p(a: Sequence[Dict[str, object]], b: Sequence[Dict[str, object]]) -> float:
    """Paired over all queries, each collection with the same weight."""
    left, right = [], []
    for collection in EVALUATION:
        x, y = (per_query(found, collection, "ndcg@10") for found in (a, b))
        weight = 1 / len(x)
        left.append(x * weight)
        right.append(y * weight)
    return paired(np.concatenate(left), np.concatenate(right))


def write_into(path: Path, text: str) -> None:
    """Replaces what stands between the marks."""
    content = path.read_text(encoding="utf-8")
    before, mark, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{path} lacks the marks {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
