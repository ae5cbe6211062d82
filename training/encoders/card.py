"""A model's card and manifest, written from its run and its reports and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, List

from .data import EVALUATION
from .evaluate import against, read_report
from .export import BASE, HEAD, LAYERS, write_manifest
from .run import read_run
from .significance import shown


def write_card(run_folder: Path, out: Path, parity: Dict[str, float], hidden: int, reports: Path) -> None:
    """Writes README.md and trained.toml into `out`. Measures are those of the run's own report,
    where there is one."""
    run = read_run(run_folder)
    recipe = run["recipe"]
    name = out.name
    quality: List[Dict[str, object]] = []
    measured: List[str] = []
    precision = "fp32"
    path = reports / "encoders" / f"{run_folder.name}.json"
    if path.is_file():
        report = json.loads(path.read_text(encoding="utf-8"))
        if report.get("share") != run.get("share"):
            raise ValueError(f"{path} is of another mix than {run_folder / 'run.json'}")
        differences: Dict[str, Dict[str, float]] = {}
        if (reports / "encoders" / "all-minilm-l6-v2.json").is_file():
            base = read_report("all-minilm-l6-v2", reports)
            differences = against(read_report(run_folder.name, reports), base)
        precision = report.get("precision", "fp32")
        measured = ["| collection | nDCG@10 | recall@100 | nDCG@10 against the base | p |", "|---|---|---|---|---|"]
        for collection, values in report["means"].items():
            difference = differences.get(collection)
            compared = f"{difference['difference']:+.4f} | {shown(difference['p'])}" if difference else "- | -"
            measured.append(
                f"| {collection} ({EVALUATION[collection]}) | {values['ndcg@10']:.4f} | {values['recall@100']:.4f} | {compared} |"
            )
            for measure in ("ndcg@10", "recall@100"):
                quality.append({"dataset": f"{collection}/{EVALUATION[collection]}", "measure": measure, "value": round(values[measure], 4)})
    shorter = [int(size) for size in recipe.get("dimensions", {}) if int(size) < hidden]
    write_manifest(out, name, recipe["pooling"], recipe["max_tokens"], hidden, quality, shorter)
    lines = [
        f"# {name}",
        "",
        f"A text encoder: the six layers of {BASE} trained further, pooled by the {recipe['pooling'].replace('_', ' ')}. Word and",
        "position embeddings and the tokenizer are those of the base, unchanged and not stored here",
        "(training/README.md says how the files go together).",
        "",
        f"Base: sentence-transformers/{BASE}, Apache-2.0. These layers: Apache-2.0.",
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
        "Held-out queries trained nothing. The mix was chosen on them and on the documentation of a",
        "package that no training touched (graph-docstrings)"
        + (", and so was this run among those with other seeds." if run.get("grid") else "; every other setting was fixed beforehand."),
        "",
        "## How",
        "",
        f"Seed {recipe['seed']}, {run['steps']} steps, {run['seconds'] / 60:.0f} minutes ({run['device']}, torch {run['torch']}).",
        mix_of(float(run.get("share", 1.0))),
        *(["The recipe's time limit ended the run: a faster machine takes more steps in it."] if cut_off(run) else []),
        "",
        "```sh",
        *(f"PYTHONPATH=training python -m encoders {command}" for command in commands_of(run)),
        f"PYTHONPATH=training python -m encoders export --out RUN --to models/{name}",
        "```",
        "",
    ]
    if "validation" in run:
        cut = run.get("validation_tokens", recipe["max_tokens"])
        lines += [f"## Chosen on held-out queries, nDCG@10, texts of up to {cut} tokens", ""]
        lines += [*validation_table(run["validation"], run["share"]), ""]
    if measured:
        lines += ["## Measured", "", f"Evaluation sets only report. PyTorch in {precision}, paired randomisation test over the queries.", "", *measured, ""]
    lines += ["## Parity", "", "Least cosine to the trained encoder over varied texts, alone and in batches:", ""]
    lines += [f"- {form}: {cosine:.5f}" for form, cosine in parity.items()]
    sizes = ", ".join(f"`{file}` {(out / file).stat().st_size / 1e6:.2f} MB" for file in (LAYERS, HEAD) if (out / file).is_file())
    lines += ["", f"Files: {sizes}.", ""]
    (out / "README.md").write_text("\n".join(lines), encoding="utf-8")


def mix_of(share: float) -> str:
    if share == 1.0:
        return "The weights are the trained ones, not averaged with the base's."
    return f"The weights are {share:g} parts of the trained ones and {1 - share:g} parts of the base's."


def commands_of(run: Dict[str, object]) -> List[str]:
    recipe = f"training/recipes/{run['recipe']['name']}.toml"
    if run.get("grid"):
        # `grid` makes this run and the others that it was chosen among; by itself it is the same.
        recipe += f" --set seed={run['recipe']['seed']} --set pooling={run['recipe']['pooling']}"
    return [f"train {recipe} --out RUN", "choose --out RUN", "report --out RUN"]


def cut_off(run: Dict[str, object]) -> bool:
    return run["steps"] < sum(stage["steps"] for stage in run["recipe"]["stages"])


def validation_table(rows: Dict[str, Dict[str, Dict[str, float]]], chosen: float) -> List[str]:
    names = list(next(iter(rows.values())))
    lines = ["| share of trained weights | " + " | ".join(names) + " | mean |", "|---" * (len(names) + 2) + "|"]
    for share, row in rows.items():
        values = [row[name]["ndcg@10"] for name in names]
        mark = " (chosen)" if float(share) == float(chosen) else ""
        cells = " | ".join(f"{value:.4f}" for value in values)
        lines.append(f"| {share}{mark} | {cells} | {sum(values) / len(values):.4f} |")
    return lines
