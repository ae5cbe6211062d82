"""Training and choosing."""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np
import torch
from torch import nn

from encoders.texts import padded

from .data import Collected, Mention
from .inputs import Inputs
from .model import Generator

WEIGHTS, LOG = "weights.pt", "log.jsonl"
KEEP_EVERY = 200


@dataclass(frozen=True)
class Recipe:
    """How to train. `seconds` ends it early, with the learning rate gone down by then."""

    seed: int = 1
    #: Layers of the decoder, and of the encoder from below that stay as they are.
    layers: int = 2
    frozen: int = 4
    #: Mentions in a step, and names beside the right one for each.
    mentions: int = 32
    others: int = 5
    steps: int = 2000
    seconds: float = 0.0
    learning_rate: float = 4e-4
    encoder_learning_rate: float = 1e-4
    weight_decay: float = 0.01
    warmup: float = 0.05
    clip: float = 1.0
    #: Of telling the right name from the others, beside writing it.
    telling: float = 1.0
    #: Words that stand for those of the vocabulary that no name of the step has; 0 for all of them.
    sampled: int = 3000
    #: Tokens of a name, its end included.
    name: int = 12
    #: Share of the tokens around a mention that are hidden.
    hidden: float = 0.1
    #: How often each kind of mention is drawn (data.py), and how many of two kinds there are.
    kinds: Dict[str, float] = field(default_factory=lambda: {"document": 0.12, "sentence": 0.2, "shortened": 0.3, "made": 0.25, "alias": 0.13})
    aliases: int = 80000
    made: int = 40000
    threads: int = 2
    bf16: bool = True


class Drawn:
    """Mentions of every kind, ready to be drawn: each once before any comes again."""

    def __init__(self, recipe: Recipe, inputs: Inputs, collected: Collected) -> None:
        self.recipe, self.inputs = recipe, inputs
        self.random = np.random.default_rng(recipe.seed)
        self.mentions = {kind: rows for kind, rows in collected.training.items() if recipe.kinds.get(kind)}
        self.ids = {kind: inputs.mentions(rows) for kind, rows in self.mentions.items()}
        self.order: Dict[str, List[int]] = {kind: [] for kind in self.mentions}
        self.names = sorted(self.mentions)
        shares = np.array([recipe.kinds[kind] for kind in self.names])
        self.shares = shares / shares.sum()
        self.queue: List[Tuple[np.ndarray, Mention]] = []

    def one(self) -> Tuple[np.ndarray, Mention]:
        kind = self.names[int(self.random.choice(len(self.names), p=self.shares))]
        if not self.order[kind]:
            self.order[kind] = list(self.random.permutation(len(self.mentions[kind])))
        at = self.order[kind].pop()
        return self.ids[kind][at], self.mentions[kind][at]

    def some(self) -> List[Tuple[np.ndarray, Mention]]:
        """A step's worth of about one length."""
        if len(self.queue) < self.recipe.mentions:
            self.queue += [self.one() for _ in range(16 * self.recipe.mentions)]
            self.queue.sort(key=lambda row: len(row[0]))
        start = int(self.random.integers(0, len(self.queue) - self.recipe.mentions + 1))
        rows = self.queue[start : start + self.recipe.mentions]
        del self.queue[start : start + self.recipe.mentions]
        return rows

    def obscured(self, ids: np.ndarray) -> np.ndarray:
        """With some tokens around the mention hidden."""
        ids = ids.copy()
        first, last = (int(np.nonzero(ids == mark)[0][0]) if (ids == mark).any() else 0 for mark in (self.inputs.opening, self.inputs.closing))
        hide = self.random.random(len(ids)) < self.recipe.hidden
        hide[first : last + 1] = False
        hide[[0, -1]] = False
        ids[hide] = self.inputs.mask
        return ids

    def batch(self) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        rows = self.some()
        ids, mask = padded([self.obscured(ids) for ids, _ in rows])
        names: List[List[str]] = []
        for at, (_, mention) in enumerate(rows):
            others = list(mention.others)
            chosen = [others[int(i)] for i in self.random.permutation(len(others))[: self.recipe.others]]
            # Names of other mentions, where there are not enough.
            while len(chosen) < self.recipe.others:
                chosen.append(rows[int(self.random.integers(len(rows)))][1].name)
            names.append([mention.name, *(o if o != mention.name else "" for o in chosen)])
        flat = [[*ids[: self.recipe.name - 1], self.inputs.end] if len(ids) > self.recipe.name else ids for ids in self.inputs.names([name for row in names for name in row])]
        width = self.recipe.others + 1
        given, wanted = self.inputs.batch_names([flat[i : i + width] for i in range(0, len(flat), width)])
        return ids, mask, given, wanted


class Trainer:
    def __init__(self, recipe: Recipe, model: Generator, drawn: Drawn) -> None:
        self.recipe, self.model, self.drawn = recipe, model, drawn
        groups: Dict[Tuple[bool, bool], List[nn.Parameter]] = {}
        for name, parameter in model.trained():
            groups.setdefault((name.startswith("bert."), parameter.dim() > 1), []).append(parameter)
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": rows,
                    "peak": recipe.encoder_learning_rate if encoder else recipe.learning_rate * (1.0 if matrix else 3.0),
                    "weight_decay": recipe.weight_decay if matrix else 0.0,
                }
                for (encoder, matrix), rows in groups.items()
            ],
            lr=recipe.learning_rate,
            betas=(0.9, 0.98),
        )
        self.parameters = [p for rows in groups.values() for p in rows]
        # What is computed with: on a processor, converting what goes through layers between two
        # precisions (as autocast does) takes as long as multiplying it.
        self.computed = copy.deepcopy(model).to(torch.bfloat16) if recipe.bf16 else model

    def step(self, loss: torch.Tensor) -> None:
        loss.backward()
        if self.computed is not self.model:
            for (_, own), (_, other) in zip(self.model.trained(), self.computed.trained()):
                own.grad = other.grad.float()
                other.grad = None
        nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.computed is not self.model:
            with torch.no_grad():
                for (_, own), (_, other) in zip(self.model.trained(), self.computed.trained()):
                    other.copy_(own)

    def losses(self) -> Tuple[torch.Tensor, torch.Tensor, float]:
        """Of writing the right name, of telling it from the others, and how often it is told."""
        ids, mask, given, wanted = self.drawn.batch()
        found = self.computed(ids, mask, given, wanted, self.recipe.sampled)
        written = -found[:, 0].sum() / (wanted[:, 0] >= 0).sum()
        scores = found.sum(2)
        told = torch.nn.functional.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))
        return written, told, float((scores.argmax(1) == 0).float().mean())

    def run(self, out: Path) -> Dict[str, float]:
        recipe = self.recipe
        started = time.monotonic()
        self.computed.train()
        sums, seen, step = np.zeros(3), 0, 0
        for step in range(recipe.steps):
            spent = time.monotonic() - started
            progress = max(step / recipe.steps, spent / recipe.seconds if recipe.seconds else 0.0)
            if progress >= 1.0:
                break
            rate = min(1.0, progress / recipe.warmup + 0.01) * max(0.02, 0.5 * (1 + math.cos(math.pi * progress)))
            for group in self.optimizer.param_groups:
                group["lr"] = group["peak"] * rate
            written, told, right = self.losses()
            self.step(written + recipe.telling * told)
            sums += [float(written.detach()), float(told.detach()), right]
            seen += 1
            if step % 50 == 49:
                row = {"step": step + 1, "seconds": round(time.monotonic() - started), "written": round(sums[0] / seen, 4), "told": round(sums[1] / seen, 4), "right": round(sums[2] / seen, 4)}
                with open(out / LOG, "a", encoding="utf-8") as log:
                    print(json.dumps(row), file=log)
                sums, seen = np.zeros(3), 0
            if step % KEEP_EVERY == KEEP_EVERY - 1:
                torch.save(self.model.trained_state(), out / WEIGHTS)
        torch.save(self.model.trained_state(), out / WEIGHTS)
        return {"steps": step + 1, "seconds": round(time.monotonic() - started)}


@torch.no_grad()
def log_probabilities(model: Generator, inputs: Inputs, rows: Sequence[Tuple[Mention, Sequence[str]]], batch: int = 16) -> List[np.ndarray]:
    """Of each name of each mention."""
    model.eval()
    found: List[np.ndarray] = [np.zeros(0)] * len(rows)
    ids = inputs.mentions([mention for mention, _ in rows])
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i][1]), len(ids[i])))
    for start in range(0, len(order), batch):
        some = order[start : start + batch]
        tokens, mask = padded([ids[i] for i in some])
        spelled = [inputs.names(rows[i][1]) for i in some]
        given, wanted = inputs.batch_names(spelled)
        states = model.write(model.read(tokens, mask), mask, given)
        # Names that begin alike have the same states, up to where they part.
        prefixes: Dict[Tuple[int, ...], int] = {}
        first: List[Tuple[int, int, int]] = []
        places = torch.zeros(wanted.shape, dtype=torch.long)
        for i, names in enumerate(spelled):
            for j, name in enumerate(names):
                for k in range(len(name)):
                    key = (i, *name[:k])
                    if key not in prefixes:
                        prefixes[key] = len(first)
                        first.append((i, j, k))
                    places[i, j, k] = prefixes[key]
        where = torch.tensor(first).T
        every = model.whole(states[where[0], where[1], where[2]])
        table = model.bert.embeddings.word_embeddings.weight
        target = wanted.clamp(min=0)
        logits = (states * table[target]).sum(3) + model.bias[target]
        scores = ((logits - every[places]) * (wanted >= 0)).sum(2)
        for place, i in enumerate(some):
            found[i] = scores[place, : len(rows[i][1])].float().numpy()
    return found
