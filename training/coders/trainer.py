"""Symmetric InfoNCE between queries and functions, over states that do not change."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .measures import measure
from .model import GraphCoder, batch_of
from .states import Encoder, Graphs, Kept, keep, keep_texts, read_graphs, trimmed

#: Functions that are scored at once.
AT_ONCE = 512
#: Held-out functions of each form that queries are measured among.
MEASURED = 2000
FORMS = ("typed", "asked", "whole", "bare", "snippet")
#: What else queries of a form are measured among: functions of these forms.
OTHERS = {"typed": ("asked", "whole")}
#: Forms of which there are few, and which are nearest to what people ask.
FEW = ("typed", "asked", "snippet")


@dataclass
class Recipe:
    """What a run does."""

    seed: int = 1
    #: `ast`, `learned`, `mean` or `max`; `none` trains the projection without a graph.
    pooling: str = "ast"
    width: int = 64
    layers: int = 3
    ratio: float = 0.5
    dropout: float = 0.0
    #: Edges from parents to children as well.
    both: bool = False
    #: A share of the graph for each of the `dimensions`, or one that depends on the `input`.
    gate: str = "input"
    #: How often functions count that are asked for in others' words or as people type, of which there are few.
    repeat: int = 4
    #: Most nodes of a function.
    nodes: int = 64
    batch: int = 256
    #: Of the projection alone, which starts from the encoder as it is: quick, and where the graph begins.
    projection_epochs: float = 1
    #: Of everything.
    epochs: float = 2
    learning_rate: float = 6e-3
    #: Of the projection: little, or it forgets what was never asked in training.
    projection_rate: float = 5e-4
    decay: float = 0.01
    temperature: float = 0.05
    threads: int = 1


@dataclass
class Functions:
    """Functions with what asks for them."""

    graphs: Graphs
    kept: Kept
    queries: np.ndarray
    """f32 [functions, hidden], of length 1."""
    texts: List[str]
    forms: List[str]
    languages: List[str]
    held_out: np.ndarray

    def places(self, held_out: bool, form: Optional[str] = None) -> np.ndarray:
        of_form = np.array([form is None or one == form for one in self.forms])
        return np.nonzero((self.held_out == held_out) & of_form)[0]


def read(functions: Path, features: Path, encoder: Encoder, folder: Path, nodes: int) -> Functions:
    """Pairs and their graphs of at most so many nodes; functions that could not be parsed have none and are left out."""
    graphs = read_graphs(features)
    rows = {}
    for line in functions.read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        rows[one["id"]] = one
    found = [rows[one] for one in graphs.ids]
    queries = keep_texts(encoder, [one["query"] for one in found], folder)
    graphs, kept = trimmed(graphs, keep(encoder, graphs, folder), nodes)
    return Functions(
        graphs=graphs,
        kept=kept,
        queries=queries / np.linalg.norm(queries, axis=1, keepdims=True),
        texts=[one["query"] for one in found],
        forms=[one["form"] for one in found],
        languages=[one["language"] for one in found],
        held_out=np.array([one["held_out"] for one in found]),
    )


def part(functions: Functions, places: Sequence[int]) -> Functions:
    """Some of the functions."""

    def of(values: List) -> List:
        return [values[place] for place in places]

    graphs, kept = functions.graphs, functions.kept
    lists = ("ids", "tokens", "kinds", "parents", "children", "first", "end")
    return Functions(
        graphs=replace(graphs, **{name: of(getattr(graphs, name)) for name in lists}),
        kept=Kept(of(kept.nodes), kept.embeddings[list(places)]),
        queries=functions.queries[list(places)],
        texts=of(functions.texts),
        forms=of(functions.forms),
        languages=of(functions.languages),
        held_out=functions.held_out[list(places)],
    )


@torch.no_grad()
def vectors(model: GraphCoder, kept: Kept, graphs: Graphs, places: np.ndarray) -> np.ndarray:
    model.eval()
    parts = [model(batch_of(places[at : at + AT_ONCE], kept, graphs, model.with_graph)) for at in range(0, len(places), AT_ONCE)]
    return torch.cat(parts).numpy()


def held_out(model: GraphCoder, functions: Functions) -> Dict[str, float]:
    """MRR of held-out queries among held-out functions of their form (of those as people type them, among
    all that keep their documentation), and the mean of the forms."""
    found = {}
    for form in FORMS:
        places = functions.places(True, form)[:MEASURED]
        if len(places):
            more = np.concatenate([functions.places(True, other) for other in OTHERS.get(form, ())] or [places[:0]])
            code = vectors(model, functions.kept, functions.graphs, np.concatenate([places, more]))
            found[form] = measure(functions.queries[places], code, np.arange(len(places)))["mrr"]
    found["mean"] = float(np.mean(list(found.values())))
    return found


def make(recipe: Recipe, vocabulary: int, hidden: int) -> GraphCoder:
    torch.manual_seed(recipe.seed)
    return GraphCoder(
        hidden, vocabulary, recipe.width, recipe.layers, recipe.ratio, recipe.pooling, recipe.dropout,
        recipe.both, recipe.gate, graph=recipe.pooling != "none",
    )


def contrast(queries: Tensor, code: Tensor, temperature: float) -> Tensor:
    """Each query picks its function, and each function its query."""
    scores = queries @ code.T / temperature
    right = torch.arange(len(queries))
    return (F.cross_entropy(scores, right) + F.cross_entropy(scores.T, right)) / 2


def train(recipe: Recipe, functions: Functions, show: bool = True) -> "tuple[GraphCoder, dict]":
    """A trained model, and what is told of the run."""
    torch.set_num_threads(recipe.threads)
    model = make(recipe, functions.graphs.vocabulary, functions.queries.shape[1])
    began = time.monotonic()
    with_graph, model.with_graph = model.with_graph, False
    stage(recipe, model, functions, recipe.projection_epochs, recipe.projection_rate, False)
    model.with_graph = with_graph
    steps, losses = stage(recipe, model, functions, recipe.epochs, recipe.projection_rate / 2, show)
    report = {
        "recipe": asdict(recipe), "steps": steps, "seconds": round(time.monotonic() - began, 1),
        "loss": round(float(np.mean(losses[-25:])), 4) if losses else None, "held_out": held_out(model, functions),
    }
    return model, report


def stage(
    recipe: Recipe, model: GraphCoder, functions: Functions, epochs: float, projection_rate: float, show: bool
) -> "tuple[int, List[float]]":
    """Trains what the model makes use of; returns how many steps it took, and their losses."""
    places = functions.places(False)
    few = [place for place in places if functions.forms[place] in FEW]
    places = np.concatenate([places, *[np.array(few, dtype=places.dtype)] * (recipe.repeat - 1)])
    batch = min(recipe.batch, len(places))
    steps = round(epochs * len(places) / batch)
    others = [p for n, p in model.named_parameters() if not n.startswith("project.") and p.requires_grad]
    groups = [{"params": list(model.project.parameters()), "lr": projection_rate, "weight_decay": 0.0}]
    if model.with_graph:
        groups.append({"params": others, "lr": recipe.learning_rate, "weight_decay": recipe.decay})
    optimizer = torch.optim.AdamW(groups)
    rates = [group["lr"] for group in optimizer.param_groups]
    chance = np.random.default_rng(recipe.seed)
    began, order = time.monotonic(), np.empty(0, dtype=np.int64)
    losses: List[float] = []
    for step in range(steps):
        if len(order) < batch:
            order = chance.permutation(places)
        taken, order = order[:batch], order[batch:]
        factor = min(1.0, (step + 1) / (0.05 * steps + 1)) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate * factor
        model.train()
        loss = contrast(
            torch.from_numpy(functions.queries[taken]),
            model(batch_of(taken, functions.kept, functions.graphs, model.with_graph)),
            recipe.temperature,
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if show and (step + 1) % 25 == 0:
            print(f"step {step + 1} of {steps}: loss {np.mean(losses[-25:]):.3f}, {time.monotonic() - began:.0f} s", flush=True)
    return steps, losses
