"""Training and choosing."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, List, Sequence, Set, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .gold import gold
from .inputs import Inputs, Part, parts_of
from .model import TABLE, Linker, column_scores
from .schema import Database, Question, held_out, read_databases, read_questions


#: What a run keeps of its weights, now and then and at the end.
WEIGHTS = "weights.pt"
LOG = "log.jsonl"
KEEP_EVERY = 300


@dataclass(frozen=True)
class Recipe:
    """How to train. `seconds` ends it early, with the learning rate gone down by then."""

    seed: int = 1
    #: Parts in a step, and the tables beside the gold ones of each question.
    parts: int = 32
    others: int = 2
    #: Layers from below that stay as they are.
    frozen: int = 0
    steps: int = 4000
    seconds: float = 0.0
    learning_rate: float = 2e-4
    head_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.05
    clip: float = 1.0
    #: Of the table's loss beside the columns'.
    table_weight: float = 0.5
    #: What a column that is needed weighs against one that is not.
    positive: float = 2.0
    threads: int = 1
    #: Multiplications in bfloat16, which recent CPUs do twice as fast.
    bf16: bool = False
    #: Databases of this fold (schema.fold) are left out, so that what the model says of them can be
    #: learned from; -1 leaves out none.
    without: int = -1


@dataclass
class Example:
    database: str
    question: List[int]
    tables: Set[str]
    columns: Set[Tuple[str, str]]


def examples(inputs: Inputs, databases: Dict[str, Database], questions: Sequence[Question]) -> List[Example]:
    found = []
    for question in questions:
        used = gold(question.sql, databases[question.database])
        if used:
            found.append(Example(question.database, inputs.question(question.text), *used))
    return found


def read(data: Path, inputs: Inputs) -> Tuple[Dict[str, Database], List[Example]]:
    """Training databases and questions of Spider, with and without synonyms, and of BIRD."""
    databases: Dict[str, Database] = {}
    found: List[Example] = []
    for tables, files in (
        ("sql/spider/tables.json", ("sql/spider/train.json", "sql/spider/spider_syn_train.json")),
        ("sql/bird/train_tables.json", ("sql/bird/train.json",)),
    ):
        known = read_databases(data / tables)
        for file in files:
            questions = read_questions(data / file)
            databases.update({q.database: known[q.database] for q in questions})
            found += examples(inputs, databases, questions)
    return databases, found


def scores(model: Linker, inputs: Inputs, example: Example, parts: Sequence[Part]) -> Tuple[Dict[Tuple[str, str], float], Dict[str, float]]:
    """Logits of the columns and of the tables; a table that is read in parts has its best part's."""
    columns: Dict[Tuple[str, str], float] = {}
    tables: Dict[str, float] = {}
    with torch.no_grad():
        for start in range(0, len(parts), 16):
            some = parts[start : start + 16]
            ids, types, mask, spans = inputs.batch([(example.question, part) for part in some])
            logits = model(ids, types, mask)
            each = column_scores(logits, spans)
            for i, part in enumerate(some):
                tables[part.table] = max(tables.get(part.table, -math.inf), float(logits[i, 0, TABLE]))
                for j, name in enumerate(part.columns):
                    columns[part.table, name] = float(each[i, j])
    return columns, tables


def measure(model: Linker, inputs: Inputs, parts: Dict[str, List[Part]], some: Sequence[Example]) -> Dict[str, float]:
    """Over held-out questions: the mean rank measures of columns, and how many columns a question has to
    keep, at one threshold for all, so that nine in ten are whole."""
    model.eval()
    worst, counts, recall = [], [], []
    kept: List[np.ndarray] = []
    for example in some:
        columns, _ = scores(model, inputs, example, parts[example.database])
        if not example.columns:
            continue
        needed = [columns[key] for key in example.columns if key in columns]
        values = np.array(sorted(columns.values(), reverse=True))
        worst.append(min(needed))
        kept.append(values)
        counts.append(int((values >= min(needed)).sum()))
        best = set(sorted(columns, key=lambda key: (-columns[key], key))[:10])
        recall.append(len(best & example.columns) / len(example.columns))
    found: Dict[str, float] = {"questions": len(worst), "recall@10": float(np.mean(recall)), "own_threshold": float(np.mean(counts))}
    for share in (0.9, 0.95, 0.98):
        threshold = np.quantile(worst, 1 - share)
        found[f"columns_at_{share:g}"] = float(np.mean([(values >= threshold).sum() for values in kept]))
    return found


class Trainer:
    def __init__(self, recipe: Recipe, model: Linker, inputs: Inputs, parts: Dict[str, List[Part]]) -> None:
        self.recipe, self.model, self.inputs, self.parts = recipe, model, inputs, parts
        for layer in model.bert.layers[: recipe.frozen]:
            layer.requires_grad_(False)
        layers = [p for p in model.bert.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in layers if p.dim() > 1], "weight_decay": recipe.weight_decay, "peak": recipe.learning_rate},
            {"params": [p for p in layers if p.dim() <= 1], "weight_decay": 0.0, "peak": recipe.learning_rate},
            {"params": list(model.head.parameters()), "weight_decay": 0.0, "peak": recipe.head_learning_rate},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
        self.parameters = [p for group in groups for p in group["params"]]

    def drawn(self, example: Example, generator: np.random.Generator) -> List[Tuple[Example, Part]]:
        """The parts of the tables that it needs, and of a few others."""
        own = [part for part in self.parts[example.database] if part.table in example.tables]
        others = [part for part in self.parts[example.database] if part.table not in example.tables]
        chosen = generator.choice(len(others), min(self.recipe.others, len(others)), replace=False) if others else []
        return [(example, part) for part in [*own, *(others[i] for i in chosen)]]

    def loss(self, rows: Sequence[Tuple[Example, Part]]) -> Tensor:
        ids, types, mask, spans = self.inputs.batch([(example.question, part) for example, part in rows])
        logits = self.model(ids, types, mask)
        each = column_scores(logits, spans)
        target = torch.zeros_like(each)
        known = torch.zeros_like(each)
        tables = torch.zeros(len(rows))
        for i, (example, part) in enumerate(rows):
            tables[i] = float(part.table in example.tables)
            known[i, : len(part.columns)] = 1
            for j, name in enumerate(part.columns):
                target[i, j] = float((part.table, name) in example.columns)
        weight = known * (1 + (self.recipe.positive - 1) * target)
        columns = F.binary_cross_entropy_with_logits(each, target, weight, reduction="sum") / weight.sum()
        table = F.binary_cross_entropy_with_logits(logits[:, 0, TABLE], tables)
        return columns + self.recipe.table_weight * table

    def run(self, found: Sequence[Example], out: Path) -> Dict[str, float]:
        recipe = self.recipe
        generator = np.random.default_rng(recipe.seed)
        queue: List[Tuple[Example, Part]] = []
        order: List[int] = []
        started, losses = time.monotonic(), []
        self.model.train()
        step = 0
        for step in range(recipe.steps):
            spent = time.monotonic() - started
            progress = max(step / recipe.steps, spent / recipe.seconds if recipe.seconds else 0.0)
            if progress >= 1.0:
                break
            # Several steps' worth at once, so that parts of about one length share a step.
            while len(queue) < 8 * recipe.parts:
                if not order:
                    order = list(generator.permutation(len(found)))
                queue += self.drawn(found[order.pop()], generator)
            if step % 6 == 0:
                queue.sort(key=lambda row: len(row[0].question) + len(row[1].ids))
            start = int(generator.integers(0, len(queue) - recipe.parts + 1))
            rows, queue = queue[start : start + recipe.parts], queue[:start] + queue[start + recipe.parts :]
            warm = min(1.0, (step + 1) / max(1.0, recipe.warmup * recipe.steps), progress / recipe.warmup + 0.01)
            rate = min(warm, 0.5 * (1 + math.cos(math.pi * progress)))
            for group in self.optimizer.param_groups:
                group["lr"] = group["peak"] * rate
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bf16):
                loss = self.loss(rows)
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters, recipe.clip)
            self.optimizer.step()
            losses.append(float(loss.detach()))
            if step % 50 == 49:
                line = {"step": step + 1, "seconds": round(time.monotonic() - started), "loss": round(float(np.mean(losses[-50:])), 4)}
                print(json.dumps(line), flush=True)
                with open(out / LOG, "a", encoding="utf-8") as log:
                    log.write(json.dumps({**line, "recipe": asdict(recipe)} if step < 50 else line) + "\n")
            if step % KEEP_EVERY == KEEP_EVERY - 1:
                torch.save(self.model.trained_state(), out / WEIGHTS)
        torch.save(self.model.trained_state(), out / WEIGHTS)
        return {"steps": step + 1, "seconds": round(time.monotonic() - started), "loss": float(np.mean(losses[-50:]))}
