"""The card of a model of code, and the table of what was compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, List

import numpy as np

FORMS = {
    "projection": "projection of the encoder's embedding, no graph",
    "graph": "graph, ASTGPool",
    "learned": "graph, learned scores alone",
    "mean": "graph, mean of all nodes",
    "max": "graph, maximum of all nodes",
}
MEASURES = (("mrr", 4), ("recall@10", 4), ("pairwise", 2), ("margin", 2))


def table(runs: Path) -> List[str]:
    """Means over the seeds, with the least and the largest MRR."""
    lines = [
        "| | MRR | least to largest | recall@10 | angle between functions | margin | MRR held out |",
        "|---|---|---|---|---|---|---|",
    ]
    plain = json.loads((runs / "as-it-is.json").read_text(encoding="utf-8"))
    for name, found in plain.items():
        lines.append(row(f"{name}, as it is", [found], None))
    for form, words in FORMS.items():
        told = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(runs.glob(f"{form}-*.json"))]
        if told:
            held_out = float(np.mean([one["held_out"]["mean"] for one in told]))
            lines.append(row(f"{words} ({len(told)} seeds)", [one["cosqa"] for one in told], held_out))
    return lines


def row(name: str, found: List[Dict[str, float]], held_out: "float | None") -> str:
    mean = {measure: float(np.mean([one[measure] for one in found])) for measure, _ in MEASURES}
    low, high = min(one["mrr"] for one in found), max(one["mrr"] for one in found)
    spread = f"{low:.4f} to {high:.4f}" if len(found) > 1 else ""
    told = f"{held_out:.4f}" if held_out is not None else ""
    return (
        f"| {name} | {mean['mrr']:.4f} | {spread} | {mean['recall@10']:.4f} | {mean['pairwise']:.1f}° "
        f"| {mean['margin']:+.2f}° | {told} |"
    )


def write(to: Path, here: Path, run: dict, about: Dict[str, object]) -> None:
    summary = json.loads((here / "functions.summary.json").read_text(encoding="utf-8"))
    counts, recipe = summary["counts"], run["recipe"]
    languages = ", ".join(f"{n} {name.removeprefix('kept ')}" for name, n in counts.items() if name.startswith("kept "))
    text = f"""# {to.name}

A network over the syntax of source code, beside the text encoder gleaner-minilm, whose layers it shares
and which stays as it is: functions get a vector from their tokens' states and their syntax tree
(GNN-Coder, arXiv 2502.15202), queries and texts the encoder's own.

Encoder: models/gleaner-minilm, Apache-2.0, over sentence-transformers/all-MiniLM-L6-v2, Apache-2.0. This
network: Apache-2.0.

## Trained on

{counts['kept']} documented functions out of the sources of {len(summary['packages'])} packages ({languages}), and
{counts['snippets']} questions of CoNaLa's training set with a line of Python each (no licence stated; training
only). {counts['held out']} functions, those of a fifth of the packages, and a fifth of the questions trained nothing;
everything was chosen on them. Of {counts['documented']} documented functions {counts['twice']} were left out as
copies or near copies, and {counts['in evaluation sets']} because they, their documentation or half of their runs
of six tokens occur in an evaluation set. About half of the functions keep their documentation and are asked for by some
of its words, or ({counts.get('asked', 0)} of them) by what another package says of a function of that name, or
({counts.get('typed', 0)} of Python's) by what one would type into a search box to find it, which a language model wrote
that had read the function; the others are without it and are asked for by its first sentence. Comments inside stay.

Packages are taken only under licences that are permissive, or where one of a choice is; they are listed at the end.

## How

Seed {recipe['seed']}, {recipe['projection_epochs']:g} epochs of the projection alone and {recipe['epochs']:g} of everything, in batches of {recipe['batch']}, {recipe['layers']} layers of {recipe['width']} values, at most {recipe['nodes']} nodes;
{run['seconds'] / 60:.1f} minutes on shared cores. `make train-coder` does all of it.

## Measured

CoSQA dev, 500 queries over 6,267 functions, which only reports. The margin is the mean of the angle to the
nearest wrong function less the angle to the right one. Seeds start alike but for their number.

{chr(10).join(table(here / 'runs'))}

## Parity

Least cosine between the exported network and the trained one, over functions in seven languages:
{about['least']:.5f}. `{to.name}/code.onnx`: {about['bytes'] / 1e6:.2f} MB, weights in f16.

## Packages

{packages(summary['packages'])}
"""
    (to / "README.md").write_text(text, encoding="utf-8")


def packages(found: Dict[str, list]) -> str:
    by_licence: Dict[str, List[str]] = {}
    for name, (licence, count) in found.items():
        by_licence.setdefault(" ".join(licence.split()), []).append(f"{name.split('/', 1)[1]} ({count})")
    return "\n".join(f"- {licence}: {', '.join(names)}" for licence, names in sorted(by_licence.items()))
