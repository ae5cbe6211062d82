"""The training loop. With the coupled estimation two models step over the same batches, each with
an optimiser of its own: R, which is served, and S, which learns what was picked for judging.

Nothing is read back from the device before a stage ends: batches are drawn beforehand and what is
logged stays there.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Dict, List, Optional

import numpy as np
import torch
from torch import Tensor, nn

from encoders.data import Source

from . import losses
from .draws import Pool, draw_all
from .first_stage import Candidates
from .model import CrossEncoder
from .pairs import Pairs
from .recipe import Recipe, Stage

#: What is kept of every step.
LOGGED = ("loss", "distillation", "margin", "norm", "weight_mean", "weight_max", "weight_clipped", "loss_s", "weight_mean_s", "weight_max_s")


@dataclass
class Prepared:
    """A source with its candidates and token ids."""

    source: Source
    candidates: Candidates
    pairs: Pairs


@dataclass
class Log:
    """Of every step: its source and what LOGGED names; NaN where it does not apply."""

    sources: List[str] = field(default_factory=list)
    values: List[Tensor] = field(default_factory=list)

    def table(self) -> np.ndarray:
        return torch.stack(self.values).float().cpu().numpy() if self.values else np.zeros((0, len(LOGGED)))

    def summary(self) -> Dict[str, float]:
        """Means over the last quarter of the steps, and the largest weights of all."""
        table = self.table()
        if not len(table):
            return {}
        last = table[-max(1, len(table) // 4) :]
        found = {}
        for i, name in enumerate(LOGGED):
            column = table[:, i] if "max" in name else last[:, i]
            if np.isfinite(column).any():
                found[name] = round(float(np.nanmax(column) if "max" in name else np.nanmean(column)), 5)
        return found


class Stepper:
    """A model with its optimiser."""

    def __init__(self, model: CrossEncoder, recipe: Recipe, rate: float) -> None:
        self.model = model
        self.clip = recipe.clip
        groups: List[Dict[str, object]] = []
        head = [*model.pooler.parameters(), *model.classifier.parameters()]
        ours = {id(p) for p in head}
        layers = [p for p in model.parameters() if p.requires_grad and id(p) not in ours]
        for parameters, peak in ((layers, recipe.learning_rate * rate), (head, recipe.head_learning_rate * rate)):
            for some, decay in (
                ([p for p in parameters if p.dim() > 1], recipe.weight_decay),
                ([p for p in parameters if p.dim() <= 1], 0.0),
            ):
                groups.append({"params": some, "weight_decay": decay, "lr": peak, "peak": peak})
        cuda = next(model.parameters()).is_cuda
        self.optimizer = torch.optim.AdamW(groups, fused=cuda)
        self.parameters = [p for group in groups for p in group["params"]]

    def step(self, loss: Tensor, rate: float) -> Tensor:
        """Returns the length of the gradient before it was cut."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()
        return norm.detach()


class Trainer:
    def __init__(self, recipe: Recipe, model: CrossEncoder, selection: Optional[CrossEncoder], sources: Dict[str, Prepared]) -> None:
        self.recipe = recipe
        self.sources = sources
        self.model = model
        self.selection = selection
        self.device = next(model.parameters()).device
        self.steps = 0
        self.seconds = 0.0
        self.cut_off = False

    def run(self, number: int) -> Log:
        """One stage of the recipe."""
        recipe, stage = self.recipe, self.recipe.stages[number]
        coupled = stage.way == "cet"
        if coupled and self.selection is None:
            raise ValueError("the coupled estimation needs a selection model")
        pools = {
            part.name: Pool(self.sources[part.name].source, self.sources[part.name].candidates, stage.way, recipe.among)
            for part in stage.sources
        }
        shares = {part.name: part.share for part in stage.sources}
        names, drawn = draw_all(
            pools, shares, stage.steps, recipe.queries, recipe.negatives, recipe.random_share, recipe.seed, number
        )
        queries, texts, teacher = (
            torch.from_numpy(np.stack([getattr(batch, part) for batch in drawn])).to(self.device)
            for part in ("queries", "texts", "teacher")
        )
        relevance = Stepper(self.model, recipe, stage.rate)
        selection = Stepper(self.selection, recipe, stage.rate * recipe.selection_rate) if coupled else None
        log = Log()
        self.model.train()
        started = time.monotonic()
        for step in range(stage.steps):
            spent = time.monotonic() - started
            progress = max(step / stage.steps, spent / stage.seconds if stage.seconds else 0.0)
            if progress >= 1.0:
                self.cut_off = True
                break
            # Linear up, then a half cosine down to nothing.
            warm = min(1.0, (step + 1) / max(recipe.warmup * stage.steps, 1.0))
            rate = min(warm, 0.5 * (1 + math.cos(math.pi * progress)))
            log.sources.append(names[step])
            log.values.append(
                self._step(stage, names[step], queries[step], texts[step], teacher[step], relevance, selection, rate)
            )
        self.steps += len(log.values)
        log.table()
        self.seconds += time.monotonic() - started
        return log

    def _step(
        self,
        stage: Stage,
        name: str,
        queries: Tensor,
        texts: Tensor,
        teacher: Tensor,
        relevance: Stepper,
        selection: Optional[Stepper],
        rate: float,
    ) -> Tensor:
        recipe = self.recipe
        pairs = self.sources[name].pairs
        batch = pairs.batch(queries.repeat_interleave(texts.shape[1]), texts.reshape(-1), recipe.train_tokens)

        def run(model: CrossEncoder) -> Tensor:
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=recipe.precision == "bf16"):
                return model(*batch).view(texts.shape)

        scores = run(self.model)
        each = losses.pairwise(scores)
        none = torch.full((), float("nan"), device=self.device)
        weight_parts, other_parts = [none] * 3, [none] * 3
        loss_s = None
        if selection is not None:
            other = run(selection.model)
            weights = losses.coupled_weights(other[:, 1:], recipe.tau, recipe.largest_weight)
            weights_s = losses.coupled_weights(scores[:, 1:], recipe.tau, recipe.largest_weight)
            loss = losses.weighted(each, weights)
            loss_s = losses.weighted(losses.pairwise(other), weights_s)
            weight_parts = [weights.mean(), weights.max(), (weights >= recipe.largest_weight).float().mean()]
            other_parts = [loss_s.detach(), weights_s.mean(), weights_s.max()]
        else:
            loss = each.mean()
        far = none
        plain = loss.detach()
        if stage.distillation:
            far = losses.distance(scores, teacher, recipe.teacher_temperature)
            loss = loss + stage.distillation * far
        margin = (scores[:, :1] - scores[:, 1:]).detach().mean()
        norm = relevance.step(loss, rate)
        if selection is not None and loss_s is not None:
            selection.step(loss_s, rate)
        return torch.stack([part.detach().float() for part in (plain, far, margin, norm, *weight_parts, *other_parts)])
