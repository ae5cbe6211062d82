"""The training loop. With the coupled estimation two models step over the same batches, each with
an optimiser of its own: R, which is served, and S, which learns what was picked for judging.

Nothing is read back from the device before a stage ends: batches are drawn beforehand and what is
logged stays there.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

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

#: Seconds between checkpoints.
CHECKPOINT = 240.0
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
    """Keeps a checkpoint every CHECKPOINT seconds where it is told a file, and goes on from it."""

    def __init__(
        self,
        recipe: Recipe,
        model: CrossEncoder,
        selection: Optional[CrossEncoder],
        sources: Dict[str, Prepared],
        checkpoint: Optional[Path] = None,
    ) -> None:
        self.recipe = recipe
        self.sources = sources
        self.model = model
        self.selection = selection
        self.device = next(model.parameters()).device
        self.steps = 0
        self.seconds = 0.0
        self.cut_off = False
        self.checkpoint = checkpoint
        #: Summaries of the stages that are over, and the first that is not.
        self.logs: List[Dict[str, float]] = []
        self.begun = 0
        self._state: Optional[Dict[str, Any]] = None
        if checkpoint is not None and checkpoint.is_file():
            state = torch.load(checkpoint, map_location=self.device, weights_only=True)
            if state["recipe"] != repr(recipe):
                raise ValueError(f"{checkpoint} is of another recipe: remove it or choose another folder")
            self._state, self.begun, self.logs = state, state["stage"], state["logs"]
            self.steps, self.seconds, self.cut_off = state["before"]

    def _keep(self, number: int, log: Log, spent: float, steppers: List[Stepper]) -> None:
        """A checkpoint. Batches are drawn before a stage starts, so that where it stands is all there is to keep."""
        if self.checkpoint is None:
            return
        state = {
            "recipe": repr(self.recipe),
            "stage": number,
            "before": (self.steps, self.seconds, self.cut_off),
            "logs": self.logs,
            "spent": spent,
            "log": (log.sources, log.values),
            "models": [stepper.model.trained_state() for stepper in steppers],
            "optimizers": [stepper.optimizer.state_dict() for stepper in steppers],
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _go_on(self, log: Log, steppers: List[Stepper]) -> float:
        """Puts everything where the checkpoint left it; returns the seconds that the stage took so far."""
        state, self._state = self._state, None
        if state is None:
            return 0.0
        log.sources, log.values = state["log"]
        for stepper, weights, optimizer in zip(steppers, state["models"], state["optimizers"]):
            stepper.model.load_trained(weights)
            stepper.optimizer.load_state_dict(optimizer)
        return state["spent"]

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
        steppers = [relevance, *([selection] if selection else [])]
        started = time.monotonic() - self._go_on(log, steppers)
        kept = time.monotonic()
        for step in range(len(log.values), stage.steps):
            spent = time.monotonic() - started
            if time.monotonic() - kept > CHECKPOINT:
                self._keep(number, log, spent, steppers)
                kept = time.monotonic()
                print(f"{self.recipe.name}, stage {number}, step {step}, {spent:.0f} s: {log.summary()}", flush=True)
            progress = max(step / stage.steps, spent / stage.seconds if stage.seconds else 0.0)
            if progress >= 1.0:
                self.cut_off = True
                break
            # Linear up, then a half cosine down to nothing.
            warm = min(1.0, max((step + 1) / stage.steps, progress) / max(recipe.warmup, 1 / stage.steps))
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
        both = queries.repeat_interleave(texts.shape[1]), texts.reshape(-1)
        batch = pairs.batch(*both, pairs.width(*both, recipe.train_tokens))

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
