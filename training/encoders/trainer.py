"""The training loop: batches from a seed and a step, so that a run goes on from a checkpoint as
if it had not been interrupted; a time budget; one log line a step.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from . import losses
from .model import Bert
from .pooling import Pooling, make, masked_mean, normalised
from .recipe import Recipe, Stage
from .states import Frozen
from .teacher import Mined
from .texts import Tokens, device_of, padded


#: Settings that may change between two parts of a run.
INDIFFERENT = {"name", "device", "threads", "checkpoint_every", "mixes"}
#: Seconds that one step can count for at most.
LONGEST_STEP = 30.0


class Student(nn.Module):
    """An encoder with its pooling. Layers below `first` are not run: their states are given."""

    def __init__(self, bert: Bert, pooling: Pooling, first: int = 0) -> None:
        super().__init__()
        self.bert = bert
        self.pooling = pooling
        self.first = first

    def forward(self, inputs: Tensor, mask: Tensor, below: Optional[Tensor] = None) -> Tensor:
        """Vectors [batch, hidden]. `inputs` are ids, or the states that layer `first` takes, with
        `below`, the masked means of the states under them, [batch, first, hidden]."""
        states = self.bert.states(inputs, mask, first=self.first)
        if not self.pooling.multi_layer:
            return self.pooling(states[-1].float(), mask)
        means = torch.stack([masked_mean(state.float(), mask) for state in states], dim=1)
        if below is not None:
            means = torch.cat([below, means], dim=1)
        return self.pooling(means, mask)


@dataclass
class Prepared:
    """A mined source, tokenised for a run."""

    mined: Mined
    queries: List[np.ndarray]
    texts: List[np.ndarray]
    training: np.ndarray
    #: With frozen layers: states of queries and texts.
    frozen_queries: Optional[Frozen] = None
    frozen_texts: Optional[Frozen] = None


@dataclass
class Batch:
    source: str
    queries: List[int]
    texts: List[int]
    #: Row of each query's answer in `texts`.
    gold: List[int]
    #: Rows of each query's hard negatives.
    hard: List[List[int]]
    #: [queries, texts]: may count as a negative.
    usable: np.ndarray
    #: [queries, texts]: belongs to the query, as its answer or its hard negative.
    own: np.ndarray
    #: [queries, texts]: the teacher's scores.
    teacher: np.ndarray


def draw(prepared: Prepared, recipe: Recipe, generator: np.random.Generator) -> Batch:
    """Queries of one source, an answer for each by its grade, and mined negatives."""
    mined = prepared.mined
    source = mined.source
    count = min(recipe.queries, len(prepared.training))
    queries = [int(q) for q in generator.choice(prepared.training, size=count, replace=False)]
    texts: List[int] = []
    row: Dict[int, int] = {}
    gold, hard = [], []

    def place(text: int) -> int:
        if text not in row:
            row[text] = len(texts)
            texts.append(text)
        return row[text]

    for query in queries:
        judged = source.relevant[query]
        # Squares: a text of grade 3 is taken nine times as often as one of grade 1.
        weights = np.fromiter(judged.values(), dtype=float) ** 2
        answer = int(generator.choice(list(judged), p=weights / weights.sum()))
        gold.append(place(answer))
        found = mined.negatives(query, answer, recipe.negatives, recipe.ratio, recipe.among, generator)
        hard.append([place(text) for text in found])
    usable = np.ones((len(queries), len(texts)), dtype=bool)
    own = np.zeros_like(usable)
    for i, query in enumerate(queries):
        for text in source.relevant[query]:
            if text in row:
                usable[i, row[text]] = False
        own[i, [gold[i], *hard[i]]] = True
    return Batch(source.name, queries, texts, gold, hard, usable, own, mined.scores(queries, texts))


def loss_of(
    recipe: Recipe, stage: Stage, batch: Batch, queries: Tensor, documents: Tensor, generator: torch.Generator
) -> Tuple[Tensor, Dict[str, float]]:
    device = queries.device
    gold = torch.tensor(batch.gold, device=device)
    usable = torch.from_numpy(batch.usable).to(device)
    own = torch.from_numpy(batch.own).to(device)
    if not stage.in_batch:
        usable = usable & own
    hard = torch.tensor(batch.hard, device=device)
    weight = losses.beta_weights(hard.shape, generator).to(device) if recipe.mixing else None
    teacher = torch.from_numpy(batch.teacher).float().to(device) / recipe.teacher_temperature
    parts: Dict[str, float] = {}

    def contrastive(q: Tensor, d: Tensor) -> Tensor:
        extra = losses.mixed_negatives(d, hard, weight, generator) if weight is not None else None
        return losses.info_nce(q, d, gold, usable, recipe.temperature, recipe.focal, extra)

    def total(q: Tensor, d: Tensor) -> Tensor:
        value = contrastive(q, d)
        parts.setdefault("contrastive", value.item())
        if recipe.distillation:
            among = None if stage.in_batch else own
            far = losses.distillation(q, d, teacher, among, recipe.temperature)
            parts.setdefault("distillation", far.item())
            value = value + recipe.distillation * far
        return value

    sizes = {int(size): weight for size, weight in recipe.dimensions.items()}
    return losses.over_dimensions(total, queries, documents, sizes), parts


def kinds_loss(vectors: Tensor, kinds: Sequence[str], temperature: float) -> Tensor:
    """Supervised contrast (Khosla et al. 2020): questions of one kind against the others."""
    codes = torch.tensor([sorted(set(kinds)).index(kind) for kind in kinds], device=vectors.device)
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    alike = (codes[:, None] == codes[None, :]) & ~itself
    logits = (vectors @ vectors.T / temperature).masked_fill(itself, float("-inf"))
    logs = torch.log_softmax(logits, 1).masked_fill(~alike, 0.0)
    some = alike.any(1)
    return -(logs.sum(1)[some] / alike.sum(1)[some]).mean() if bool(some.any()) else vectors.sum() * 0


class Trainer:
    """One run. `folder` takes the log, checkpoints and the trained layers."""

    def __init__(
        self,
        recipe: Recipe,
        bert: Bert,
        sources: Dict[str, Prepared],
        folder: Path,
        kinds: Optional[Tuple[List[np.ndarray], List[str]]] = None,
    ) -> None:
        torch.manual_seed(recipe.seed)
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        self.recipe = recipe
        self.folder = folder
        self.sources = sources
        self.kinds = kinds
        self.device = device_of(recipe.device)
        bert.freeze_embeddings()
        for layer in bert.layers[: recipe.first_layer]:
            for parameter in layer.parameters():
                parameter.requires_grad_(False)
        pooling = make(recipe.pooling, bert.shape.hidden, bert.shape.layers + 1, recipe.latents or None)
        self.student = Student(bert, pooling, recipe.first_layer).to(self.device)
        self.optimizer = torch.optim.AdamW(self._groups())
        self.step = 0
        self.stage = 0
        #: Steps and seconds spent in the present stage.
        self.stage_step = 0
        self.stage_seconds = 0.0
        self.seconds = 0.0

    def _groups(self) -> List[Dict[str, object]]:
        groups: List[Dict[str, object]] = []
        for module, rate in (
            (self.student.bert, self.recipe.learning_rate),
            (self.student.pooling, self.recipe.head_learning_rate),
        ):
            trained = [p for p in module.parameters() if p.requires_grad]
            matrices = [p for p in trained if p.dim() > 1]
            rest = [p for p in trained if p.dim() <= 1]
            for parameters, decay in ((matrices, self.recipe.weight_decay), (rest, 0.0)):
                if parameters:
                    groups.append({"params": parameters, "weight_decay": decay, "lr": rate, "peak": rate})
        return groups

    def run(self) -> None:
        """Trains to the end of the last stage, from the last checkpoint where there is one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint = self.folder / "checkpoint.pt"
        if checkpoint.is_file():
            self._resume(checkpoint)
        saved = time.monotonic()
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as log:
            while self.stage < len(self.recipe.stages):
                stage = self.recipe.stages[self.stage]
                progress = self._progress(stage)
                if progress >= 1.0:
                    self.stage, self.stage_step, self.stage_seconds = self.stage + 1, 0, 0.0
                    continue
                line = self._step(stage, progress)
                log.write(json.dumps(line) + "\n")
                log.flush()
                if time.monotonic() - saved > self.recipe.checkpoint_every:
                    self._save(checkpoint)
                    saved = time.monotonic()
        self._save(checkpoint)

    def _progress(self, stage: Stage) -> float:
        by_steps = self.stage_step / max(stage.steps, 1)
        by_time = self.stage_seconds / stage.seconds if stage.seconds else 0.0
        return max(by_steps, by_time)

    def _step(self, stage: Stage, progress: float) -> Dict[str, object]:
        started = time.monotonic()
        recipe = self.recipe
        # Linear up, then a half cosine down to nothing.
        warm = min(1.0, (self.stage_step + 1) / max(recipe.warmup * stage.steps, 1.0))
        rate = min(warm, 0.5 * (1 + math.cos(math.pi * progress)))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        generator = np.random.default_rng([recipe.seed, self.step])
        torch_generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + self.step)
        self.student.train()
        if self.kinds is not None and stage.kinds_share and generator.random() < stage.kinds_share:
            loss, parts, name = self._kinds(generator)
        else:
            shares = np.array([part.share for part in stage.sources])
            name = stage.sources[int(generator.choice(len(shares), p=shares / shares.sum()))].name
            batch = draw(self.sources[name], recipe, generator)
            queries, documents = self._encode(self.sources[name], batch)
            loss, parts = loss_of(recipe, stage, batch, queries, documents, torch_generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.student.parameters(), recipe.clip)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"the gradient of step {self.step} ({name}) is not finite")
        self.optimizer.step()
        # A step during which the process was suspended does not use up the budget.
        took = min(time.monotonic() - started, LONGEST_STEP)
        self.step += 1
        self.stage_step += 1
        self.stage_seconds += took
        self.seconds += took
        return {
            "step": self.step,
            "stage": self.stage,
            "source": name,
            "loss": round(loss.item(), 4),
            **{key: round(value, 4) for key, value in parts.items()},
            "norm": round(float(norm), 3),
            "rate": rate,
            "seconds": round(took, 3),
        }

    def _encode(self, prepared: Prepared, batch: Batch) -> Tuple[Tensor, Tensor]:
        vectors = []
        for rows, frozen, positions in (
            (prepared.queries, prepared.frozen_queries, batch.queries),
            (prepared.texts, prepared.frozen_texts, batch.texts),
        ):
            if frozen is not None:
                inputs, mask, below = frozen.batch(positions, self.device)
            else:
                (inputs, mask), below = padded([rows[i] for i in positions], self.device), None
            vectors.append(self._vectors(inputs, mask, below))
        return vectors[0], vectors[1]

    def _vectors(self, inputs: Tensor, mask: Tensor, below: Optional[Tensor] = None) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            vectors = self.student(inputs, mask, below)
        return normalised(vectors.float())

    def _kinds(self, generator: np.random.Generator) -> Tuple[Tensor, Dict[str, float], str]:
        rows, kinds = self.kinds
        chosen = generator.choice(len(rows), size=min(2 * self.recipe.queries, len(rows)), replace=False)
        inputs, mask = padded([rows[i] for i in chosen], self.device)
        loss = kinds_loss(self._vectors(inputs, mask), [kinds[i] for i in chosen], self.recipe.temperature)
        return loss, {"kinds": loss.item()}, "kinds"

    def _save(self, path: Path) -> None:
        partial = path.with_suffix(".partial")
        torch.save(
            {
                "layers": self.student.bert.trained_state(),
                "pooling": self.student.pooling.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "counters": [self.step, self.stage, self.stage_step, self.stage_seconds, self.seconds],
                "recipe": self.recipe.to_dict(),
            },
            partial,
        )
        partial.replace(path)

    def _resume(self, path: Path) -> None:
        saved = torch.load(path, map_location=self.device, weights_only=True)
        differs = sorted(k for k, v in self.recipe.to_dict().items() if k not in INDIFFERENT and saved["recipe"].get(k) != v)
        if differs:
            raise ValueError(f"{path} is of another recipe ({', '.join(differs)}): take another folder, or remove it")
        self.student.bert.load_state_dict(saved["layers"], strict=False)
        self.student.pooling.load_state_dict(saved["pooling"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.stage, self.stage_step, self.stage_seconds, self.seconds = saved["counters"]


def prepare(mined: Mined, tokens: Tokens, recipe: Recipe) -> Prepared:
    source = mined.source
    return Prepared(
        mined,
        tokens.ids(source.queries, recipe.query_tokens),
        tokens.ids(source.texts, recipe.text_tokens),
        np.array(source.training),
    )
