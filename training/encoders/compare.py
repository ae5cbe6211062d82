"""The poolings compared: the same sources, the same number of steps, several seeds.

All layers but the last are as they were, their states computed once (states.py); the last layer
and what the pooling has of its own are trained. Each run reports on the evaluation sets.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
import torch

from .data import EVALUATION, Source, evaluation
from .evaluate import Held, held_out, means, report_files, write
from .model import Bert
from .pooling import NAMES, make
from .recipe import Recipe
from .run import gather
from .significance import measures
from .states import Frozen, freeze
from .texts import Tokens, by_length, device_of
from .trainer import Student, Trainer


class Measured:
    """A collection with the states that the trained layers take."""

    def __init__(self, held: Held | Source, bert: Bert, tokens: Tokens, recipe: Recipe, cache: Path) -> None:
        self.name = held.name
        self.relevant = held.relevant
        self.texts, self.queries = (
            freeze(bert, tokens.ids(part, recipe.max_tokens), recipe.first_layer, cache, precision=recipe.precision)
            for part in (held.texts, held.queries)
        )

    def measure(self, student: Student, precision: str) -> Dict[str, np.ndarray]:
        queries = encode_frozen(student, self.queries, precision)
        return measures(queries, encode_frozen(student, self.texts, precision), self.relevant)


@torch.no_grad()
def encode_frozen(student: Student, states: Frozen, precision: str, budget: int = 8192) -> np.ndarray:
    device = next(student.parameters()).device
    student.eval()
    out = np.empty((len(states), student.bert.shape.hidden), dtype=np.float32)
    for batch in by_length(states.lengths(), budget):
        inputs, mask, below = states.batch(batch, device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            out[batch] = student(inputs, mask, below).float().cpu().numpy()
    return out


def compare(
    recipe: Recipe,
    seeds: Sequence[int],
    data: Path,
    base: Path,
    cache: Path,
    reports: Path,
    poolings: Optional[Sequence[str]] = None,
    collections: Optional[Sequence[str]] = None,
) -> None:
    """Trains and reports what is not there yet: reports/encoders/RECIPE-POOLING-SEED.json."""
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    tokens = Tokens(base)
    bert = Bert.read(base).to(device_of(recipe.device)).eval()
    sources, about = gather(recipe, data, bert, tokens, cache)
    folder = cache / "states"
    started = time.monotonic()
    for prepared in sources.values():
        prepared.frozen_texts, prepared.frozen_queries = (
            freeze(bert, rows, recipe.first_layer, folder, precision=recipe.precision)
            for rows in (prepared.texts, prepared.queries)
        )
    chosen = list(collections or EVALUATION)
    measured = [Measured(evaluation(data, name), bert, tokens, recipe, folder) for name in chosen]
    held = [Measured(h, bert, tokens, recipe, folder) for h in held_out(data, 0.3)]
    print(f"states: {time.monotonic() - started:.0f} s", flush=True)
    start = {name: value.clone() for name, value in bert.state_dict().items()}

    def finish(name: str, student: Student, more: Dict[str, object]) -> None:
        validation = {h.name: means(h.measure(student, recipe.precision)) for h in held}
        found = {m.name: m.measure(student, recipe.precision) for m in measured}
        write(name, found, reports, {"recipe": recipe.to_dict(), "validation": validation, "sources": about, **more})
        line = "  ".join(f"{key} {value['ndcg@10'].mean():.4f}" for key, value in found.items())
        kept = np.mean([v["ndcg@10"] for v in validation.values()])
        print(f"{name}: held out {kept:.4f}; {line}", flush=True)

    def there(name: str) -> bool:
        return bool(report_files(name, reports))

    if not there(f"{recipe.name}-as-it-is"):
        student = Student(bert, make("mean", bert.shape.hidden, bert.shape.layers + 1), recipe.first_layer)
        finish(f"{recipe.name}-as-it-is", student, {"pooling": "mean", "seed": None})
    # Seeds outside, poolings inside: whatever is done when time is up can be compared.
    for seed in seeds:
        for pooling in poolings or NAMES:
            name = f"{recipe.name}-{pooling}-{seed}"
            if there(name):
                continue
            bert.load_state_dict(start)
            run = replace(recipe, pooling=pooling, seed=seed)
            trainer = Trainer(run, bert, sources, cache / "runs" / name)
            trainer.run()
            more = {"pooling": pooling, "seed": seed, "steps": trainer.step, "train_seconds": round(trainer.seconds, 1)}
            finish(name, trainer.student, more)


def rows(name: str, reports: Path) -> Dict[str, List[Dict[str, object]]]:
    """Every report of a comparison by pooling, `as-it-is` included."""
    found: Dict[str, List[Dict[str, object]]] = {}
    for path in report_files(f"{name}-*", reports):
        rest = path.stem.removeprefix(f"{name}-")
        pooling, _, seed = rest.rpartition("-")
        key = pooling if seed.isdigit() and pooling in NAMES else rest
        if key in (*NAMES, "as-it-is"):
            found.setdefault(key, []).append(json.loads(path.read_text(encoding="utf-8")))
    return found


