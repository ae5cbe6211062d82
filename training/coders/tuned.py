"""The encoder itself, trained on the same pairs: its last layer, over what enters it.

The layers below are frozen, and what they say of a text is computed once; so an epoch costs what one
layer costs. The trained encoder is what the graph is compared with, and what the graph is then trained
over: `over` gives both sides the same states.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, List, Sequence, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders import place
from encoders.export import LAYERS, expanded
from encoders.model import Bert

from .states import Graphs, Kept, key, means
from .trainer import FEW, Functions, contrast

#: Tokens that pass through the layers at once.
BUDGET = 8192


@dataclass
class Tuning:
    """How the last layer is trained."""

    seed: int = 1
    batch: int = 128
    epochs: float = 2
    learning_rate: float = 3e-5
    decay: float = 0.01
    temperature: float = 0.05
    #: How often functions count that are asked for in others' words or as people type.
    repeat: int = 4
    threads: int = 2


def bert_of(name: str) -> Bert:
    """The encoder's layers as they were trained."""
    bert = Bert.read(place.base())
    if name != "all-minilm-l6-v2":
        trained = expanded(place.PROJECT / "models" / name / LAYERS)
        whole = bert.state_dict()
        missing = [one for one in trained if one not in whole]
        if missing:
            raise ValueError(f"{name}: {missing[0]} is no layer of the base")
        bert.load_state_dict({**whole, **{one: torch.from_numpy(value).float() for one, value in trained.items()}})
    return bert.eval()


def batches(lengths: np.ndarray) -> List[np.ndarray]:
    """Places of texts of about one length, so many that their tokens keep to the budget."""
    order = np.argsort(lengths, kind="stable")
    found, start = [], 0
    while start < len(order):
        end = start + 1
        while end < len(order) and lengths[order[end]] * (end + 1 - start) <= BUDGET:
            end += 1
        found.append(order[start:end])
        start = end
    return found


def padded(rows: Sequence[np.ndarray]) -> Tuple[Tensor, Tensor]:
    """Rows side by side, [texts, tokens, ...], and 1 where there is a token."""
    longest = max(len(row) for row in rows)
    shape = (len(rows), longest, *rows[0].shape[1:])
    out = np.zeros(shape, dtype=rows[0].dtype)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for n, row in enumerate(rows):
        out[n, : len(row)] = row
        mask[n, : len(row)] = 1
    return torch.from_numpy(out), torch.from_numpy(mask)


class Entering:
    """What enters the last layer, of texts one after the other: f16 [tokens, hidden] in a file."""

    def __init__(self, bert: Bert, rows: Sequence[np.ndarray], path: Path, show: bool = True) -> None:
        self.starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        digest = key(np.concatenate(rows), self.starts).hex()
        path = path.with_name(f"{path.name}-{digest[:16]}.npy")
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial.npy")
            out = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=(int(self.starts[-1]), bert.shape.hidden))
            began, done = time.monotonic(), 0
            for places in batches(np.diff(self.starts)):
                ids, mask = padded([rows[one] for one in places])
                with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                    states = bert.states(ids, mask, last=len(bert.layers) - 1)[-1].float().numpy()
                for one, state in zip(places, states):
                    out[self.starts[one] : self.starts[one + 1]] = state[: len(rows[one])]
                done += len(places)
                if show and done // 2000 != (done - len(places)) // 2000:
                    print(f"entering states: {done} of {len(rows)}, {time.monotonic() - began:.0f} s", flush=True)
            out.flush()
            partial.replace(path)
        self.states = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of(self, places: Sequence[int]) -> Tuple[Tensor, Tensor]:
        states, mask = padded([np.asarray(self.states[self.starts[p] : self.starts[p + 1]]) for p in places])
        return states.float(), mask

    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)


def through(layer: nn.Module, states: Tensor, mask: Tensor) -> Tensor:
    visible = None if bool(mask.all()) else mask.bool()[:, None, None, :]
    return layer(states, visible)


def pooled(layer: nn.Module, states: Tensor, mask: Tensor) -> Tensor:
    """Means over the tokens, of length 1."""
    with torch.autocast("cpu", torch.bfloat16):
        out = through(layer, states, mask)
    weight = mask[:, :, None].float()
    return F.normalize((out.float() * weight).sum(dim=1) / weight.sum(dim=1), dim=-1)


@torch.no_grad()
def each(layer: nn.Module, entering: Entering, use: Callable[[int, np.ndarray], None]) -> None:
    """Hands the last states of every text on, [tokens, hidden]."""
    for places in batches(entering.lengths()):
        states, mask = entering.of(places)
        with torch.autocast("cpu", torch.bfloat16):
            out = through(layer, states, mask).float().numpy()
        for n, one in enumerate(places):
            use(int(one), out[n, : entering.lengths()[one]])


def kept_of(layer: nn.Module, entering: Entering, graphs: Graphs) -> Kept:
    """As `states.keep`, of this layer."""
    nodes: List[np.ndarray] = [np.empty(0)] * len(graphs)
    embeddings = np.empty((len(graphs), entering.states.shape[1]), np.float32)

    def use(one: int, states: np.ndarray) -> None:
        nodes[one] = means(states, graphs.first[one], graphs.end[one]).astype(np.float16)
        embeddings[one] = states.mean(axis=0)

    each(layer, entering, use)
    return Kept(nodes, embeddings)


def vectors_of(layer: nn.Module, entering: Entering) -> np.ndarray:
    found = np.empty((len(entering), entering.states.shape[1]), np.float32)

    def use(one: int, states: np.ndarray) -> None:
        found[one] = states.mean(axis=0)

    each(layer, entering, use)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@dataclass
class Pairs:
    """Functions and what asks for them, as they enter the last layer."""

    functions: Functions
    code: Entering
    asked: Entering


def tune(tuning: Tuning, layer: nn.Module, pairs: Pairs, show: bool = True) -> Tuple[nn.Module, List[float]]:
    """The layer, trained by symmetric InfoNCE of queries and functions."""
    torch.set_num_threads(tuning.threads)
    torch.manual_seed(tuning.seed)
    layer = copy.deepcopy(layer).train()
    functions = pairs.functions
    places = functions.places(False)
    few = np.array([p for p in places if functions.forms[p] in FEW], dtype=places.dtype)
    places = np.concatenate([places, *[few] * (tuning.repeat - 1)])
    batch = min(tuning.batch, len(places))
    steps = round(tuning.epochs * len(places) / batch)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=tuning.learning_rate, weight_decay=tuning.decay)
    chance = np.random.default_rng(tuning.seed)
    order, losses, began = np.empty(0, dtype=np.int64), [], time.monotonic()
    for step in range(steps):
        if len(order) < batch:
            order = chance.permutation(places)
        taken, order = order[:batch], order[batch:]
        factor = min(1.0, (step + 1) / (0.1 * steps + 1)) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = tuning.learning_rate * factor
        loss = contrast(pooled(layer, *pairs.asked.of(taken)), pooled(layer, *pairs.code.of(taken)), tuning.temperature)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if show and (step + 1) % 20 == 0:
            print(f"layer: step {step + 1} of {steps}: loss {np.mean(losses[-20:]):.3f}, {time.monotonic() - began:.0f} s", flush=True)
    return layer.eval(), losses


def over(layer: nn.Module, pairs: Pairs) -> Functions:
    """The functions with this layer's states, to train a graph over."""
    return replace(
        pairs.functions, kept=kept_of(layer, pairs.code, pairs.functions.graphs), queries=vectors_of(layer, pairs.asked)
    )
