"""A re-ranker's card and manifest, written from its run and its reports and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, List

from encoders.data import EVALUATION
from encoders.export import BASE, HEAD, LAYERS

from .export import write_manifest
from .run import read_run

WAYS = {
    "words": "negatives from BM25",
    "hard": "hard negatives from the fusion",
    "random": "hard negatives, a part of them replaced by random ones",
    "cet": "hard negatives weighted by the coupled estimation (arXiv 2209.05072)",
}


def write_card(run_folder: Path, out: Path, parity: Dict[str, Dict[str, float]], reports: Path) -> None:
    """Writes README.md and trained.toml into `out`. Measures are those of the run's own report,
    where there is one. Raises ValueError for a run that was not calibrated."""
    run = read_run(run_folder)
    recipe, best = run["recipe"], run["chosen"]
    calibration = (best["temperature"], best["offset"])
    quality: List[Dict[str, object]] = []
    path = reports / "rerankers" / f"{run_folder.name}.json"
    report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if report is not None:
        if report["chosen"] != best:
            raise ValueError(f"{path} is of another choice than {run_folder / 'run.json'}")
        for name, kinds in report["collections"].items():
            for measure, value in kinds["reranked"]["means"].items():
                quality.append({"dataset": f"{name}/{EVALUATION[name]}", "measure": measure, "value": round(value, 4)})
    served = run.get("served")
    weight = served["weight"] if served else best["weight"]
    write_manifest(out, recipe["max_tokens"], calibration, weight, quality)
    name = out.name
    minutes = run["seconds"] / 60
    lines = [
        f"# {name}",
        "",
        f"A cross-encoder that re-ranks what a first stage found: the six layers of {BASE} trained further,",
        "with a pooler and a classifier of its own, in the form of BertForSequenceClassification with one",
        "label. Embeddings and the tokenizer are those of the base, unchanged and not stored here",
        "(training/README.md says how the files go together).",
        "",
        f"Base: sentence-transformers/{BASE}, Apache-2.0. These layers: Apache-2.0.",
        "",
        "## Using it",
        "",
        f"A pair is `[CLS] query [SEP] passage [SEP]` of at most {recipe['max_tokens']} tokens; of a query half of the",
        "room is kept, of the passage what is left. The score is",
        f"sigmoid((logit - {calibration[1]:.4f}) / {calibration[0]:.4f}): the probability that a candidate of the first stage",
        "was judged relevant, over the held-out queries below, every source weighing the same.",
        f"Mixed with the first stage it did best there with a weight of {best['weight']:g}, both stretched over the list.",
        *(in_the_service(served) if served else []),
        *own_order(run),
        *(
            []
            if best["allowed"]
            else ["", "**With no weight did it keep up with the first stage where it was not trained: measure it before you use it.**"]
        ),
        "",
        "## Trained on",
        "",
        "| source | licence as stated | texts | training queries | held-out queries |",
        "|---|---|---|---|---|",
    ]
    for source, about in run["sources"].items():
        lines.append(
            f"| {source} | {about['licence']} | {about['texts']} | {about['training_queries']} | {about['held_out_queries']} |"
        )
    lines += [
        "",
        "Held-out queries trained nothing. Mix, weight, calibration and the longest pair were chosen on them",
        "and on the documentation of a package that no training touched (graph-docstrings); every other",
        "setting was fixed beforehand. No collection of \"Measured\" was trained on or chosen by, but for the training",
        "parts of SciFact and NFCorpus, which are apart from what is measured.",
        "",
        "## How",
        "",
        f"Seed {recipe['seed']}, {run['steps']} steps of {recipe['queries']} queries with {1 + recipe['negatives']} passages each, cut at {recipe['train_tokens']} tokens;",
        f"{minutes:.0f} minutes ({run['device']}, torch {run['torch']}).",
        "",
    ]
    if "start" in run:
        start = run["start"]
        lines += [
            f"It goes on from the chosen weights of `{start['recipe']}.toml`: {start['steps']} steps, {start['seconds'] / 60:.0f} minutes.",
            "",
        ]
    for stage, log in zip(recipe["stages"], run["logs"]):
        taught = f", distance to the first stage's scores weighing {stage['distillation']:g}" if stage["distillation"] else ""
        lines.append(f"- {log['steps']} steps: {WAYS[stage['way']]}{taught}.")
        if "weight_mean" in log:
            lines.append(
                f"  Coupled weights with tau {recipe['tau']:g}: {log['weight_mean']:.3f} on average over the last quarter, "
                f"{log['weight_max']:.2f} at most, {log['weight_clipped']:.1%} clipped at {recipe['largest_weight']:g}."
            )
    lines += [
        "",
        f"The weights are {best['share']:g} parts of those after the last stage and {1 - best['share']:.1g} parts of those after the first.",
        *(["The recipe's time limit ended a stage: a faster machine takes more steps in it."] if run["cut_off"] else []),
        "",
        "```sh",
        *([f"# first {run['start']['recipe']}.toml in the same way, into a folder of that name beside RUN"] if "start" in run else []),
        f"PYTHONPATH=training python -m rerankers train training/recipes/{recipe['name']}.toml --out RUN",
        f"PYTHONPATH=training python -m rerankers choose --out RUN{choosing(run)}",
        f"PYTHONPATH=training python -m rerankers report --out RUN",
        f"PYTHONPATH=training python -m rerankers export --out RUN --to models/{name}",
        "```",
        "",
        "## Chosen on held-out queries",
        "",
        f"nDCG@10 of the first stage's best {best.get('depth', 100)}, re-ranked with the chosen weights.",
        "",
        *validation_table(run),
        "",
    ]
    if report is not None:
        lines += [
            "## Measured",
            "",
            "Evaluation sets only report. The first stage is BM25 and the base encoder, each scaled to 0 to 1,",
            f"added in equal parts; its best {report.get('depth', 100)} re-ranked. PyTorch in {recipe['precision']}, paired randomisation test",
            "over the queries.",
            "",
            *report_table(report),
            "",
        ]
    lines += [
        "## Parity",
        "",
        "Against the trained model over varied pairs, alone and in one batch: the largest difference of a",
        "calibrated score, and the share of two passages of one query that stand in the same order.",
        "",
        *(f"- {form}: {row['difference']:.5f}, {row['order']:.4f}" for form, row in parity.items()),
        "",
    ]
    sizes = ", ".join(f"`{file}` {(out / file).stat().st_size / 1e6:.2f} MB" for file in (LAYERS, HEAD))
    lines += [f"Files: {sizes}.", ""]
    (out / "README.md").write_text("\n".join(lines), encoding="utf-8")


def in_the_service(served: dict) -> List[str]:
    """The weight against the service's first stage, and what it was chosen by."""
    names = list(served["queries"])
    shown = {0.0, 0.1, 0.35, 0.5, 1.0, served["weight"]}
    rows = [row for row in served["rows"] if row["weight"] in shown]
    return [
        "",
        f"**In the service**, whose first stage is stronger, a weight of **{served['weight']:g}** did best: nDCG@10 of its first 100,",
        "re-ranked, over held-out queries. It is what is recommended.",
        "",
        "| weight | " + " | ".join(f"{name} ({served['queries'][name]})" for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
        *(
            f"| {row['weight']:g} | " + " | ".join(f"{row['means'][name]['ndcg@10']:.4f}" for name in names) + " |"
            for row in rows
        ),
    ]


def own_order(run: Dict[str, object]) -> List[str]:
    """Says so where the re-ranker must not stand alone."""
    alone = next(row for row in run["validation"] if row["share"] == run["chosen"]["share"] and row["weight"] == 1.0)
    if alone["value"] >= run["first_value"]:
        return []
    return [
        "",
        f"**Do not use it alone** (a weight of 1): its own order is worse than the first stage's, {alone['value']:.3f} against",
        f"{run['first_value']:.3f}, the mean nDCG@10 of the table below, sources that were trained on and the other counting half each.",
    ]


def choosing(run: Dict[str, object]) -> str:
    """The options that `choose` was called with."""
    scale, depth = run.get("chosen_with", {}).get("scale", 1.0), run.get("chosen_with", {}).get("depth", 100)
    return (f" --scale {scale:g}" if scale != 1.0 else "") + (f" --depth {depth}" if depth != 100 else "")


def validation_table(run: Dict[str, object]) -> List[str]:
    best, first = run["chosen"], run["first_stage"]
    names = list(first)
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines.append("| first stage | " + " | ".join(f"{first[name]['ndcg@10']:.4f}" for name in names) + " |")
    shown = {0.25, 0.5, 0.75, 1.0, best["weight"]}
    for row in run["validation"]:
        if row["share"] == best["share"] and row["weight"] in shown:
            mark = " (chosen)" if row["weight"] == best["weight"] else ""
            cells = " | ".join(f"{row['means'][name]['ndcg@10']:.4f}" for name in names)
            lines.append(f"| weight {row['weight']:g}{mark} | {cells} |")
    counts = run.get("chosen_with", {}).get("queries")
    if counts:
        lines.append("| queries | " + " | ".join(str(counts[name]) for name in names) + " |")
    return lines


def report_table(report: Dict[str, object]) -> List[str]:
    lines = [
        "| collection | first stage nDCG@10 | re-ranked | p | the re-ranker's own order | MRR@10, first stage to re-ranked |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in report["summary"].items():
        kinds = report["collections"][name]
        mrr = " to ".join(f"{kinds[kind]['means']['mrr@10']:.4f}" for kind in ("first", "reranked"))
        lines.append(f"| {name} ({EVALUATION[name]}) | {row['first']:.4f} | {row['reranked']:.4f} | {row['p']:.4f} | {row['alone']:.4f} | {mrr} |")
    return lines
