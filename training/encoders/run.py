"""A training run from a recipe to a folder: prepare, train, choose the mix on what was held out."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from . import place
from .data import medquad_kinds, read
from .evaluate import UNTOUCHED, Held, held_out, means, measure, mixed
from .model import Bert
from .pooling import Mean, Pooling, make
from .recipe import Recipe
from .teacher import mine
from .texts import Tokens, device_of
from .trainer import Prepared, Trainer, prepare

LAYERS = "layers.safetensors"
RUN = "run.json"


def train(recipe: Recipe, out: Path, data: Path, base: Path, cache: Path) -> None:
    """Writes `layers.safetensors` (as trained, not yet mixed) and `run.json` into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    tokens = Tokens(base)
    bert = Bert.read(base).to(device_of(recipe.device))
    sources, about = gather(recipe, data, bert, tokens, cache)
    trainer = Trainer(recipe, bert, sources, out, kinds(recipe, data, tokens))
    trainer.run()
    save(trainer.student.bert, trainer.student.pooling, out)
    write_run(
        out,
        {
            "recipe": recipe.to_dict(),
            "sources": about,
            "steps": trainer.step,
            "seconds": round(trainer.seconds, 1),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": str(trainer.device),
        },
    )


def gather(
    recipe: Recipe, data: Path, bert: Bert, tokens: Tokens, cache: Path
) -> Tuple[Dict[str, Prepared], Dict[str, Dict[str, object]]]:
    sources: Dict[str, Prepared] = {}
    about: Dict[str, Dict[str, object]] = {}
    for name, limit in recipe.parts().items():
        source = read(data, name, limit or None)
        started = time.monotonic()
        mined = mine(source, bert, tokens, cache, recipe.text_tokens, recipe.precision)
        sources[name] = prepare(mined, tokens, recipe)
        some = source.training[:: max(1, len(source.training) // 100)]
        about[name] = {
            "licence": source.licence,
            "texts": len(source.texts),
            "training_queries": len(source.training),
            "held_out_queries": len(source.held_out),
            "teacher_ndcg@10": {w: round(mined.ndcg(some, w), 4) for w in (0.0, 0.5, 1.0)},
        }
        print(f"{name}: {about[name]}, {time.monotonic() - started:.0f} s", flush=True)
    return sources, about


def kinds(recipe: Recipe, data: Path, tokens: Tokens) -> Optional[Tuple[List[np.ndarray], List[str]]]:
    if not any(stage.kinds_share for stage in recipe.stages):
        return None
    questions, kinds_of = medquad_kinds(data)
    return tokens.ids(questions, recipe.query_tokens), kinds_of


def save(bert: Bert, pooling: Pooling, out: Path) -> None:
    layers = {name: value.float().contiguous().cpu() for name, value in bert.trained_state().items()}
    save_file(layers, out / LAYERS)
    head = {name: value.float().contiguous().cpu() for name, value in pooling.state_dict().items()}
    if head:
        save_file(head, out / "pooling.safetensors")


def write_run(out: Path, values: Dict[str, object]) -> None:
    """Adds to `run.json`."""
    path = out / RUN
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**known, **values}, indent=2) + "\n", encoding="utf-8")


def read_run(out: Path) -> Dict[str, object]:
    path = out / RUN
    if not path.is_file():
        raise place.Missing(f"{path} does not exist: train into that folder first")
    return json.loads(path.read_text(encoding="utf-8"))


def load(out: Path, base: Path, share: Optional[float] = None) -> Tuple[Bert, Pooling, Recipe]:
    """The encoder of a run with that share of the trained weights; the chosen share by default."""
    run = read_run(out)
    recipe = Recipe(**{k: v for k, v in run["recipe"].items() if k != "stages"})
    bert = Bert.read(base)
    if share is None:
        share = float(run.get("share", 1.0))
    after = load_file(out / LAYERS)
    before = bert.trained_state()
    bert.load_state_dict(mixed(before, after, share), strict=False)
    pooling = make(recipe.pooling, bert.shape.hidden, bert.shape.layers + 1, recipe.latents or None)
    head = out / "pooling.safetensors"
    if head.is_file():
        pooling.load_state_dict(load_file(head))
    device = device_of(recipe.device)
    return bert.to(device), pooling.to(device), recipe


def choose(
    out: Path,
    data: Path,
    base: Path,
    scale: float = 1.0,
    precision: Optional[str] = None,
    max_tokens: Optional[int] = None,
) -> None:
    """Measures every mix on what was held out and keeps the one with the best mean over the
    sources; a mix may not be worse than the encoder was on what training never touched."""
    tokens = Tokens(base)
    helds = held_out(data, scale)
    _, _, recipe = load(out, base, 0.0)
    precision = precision or recipe.precision
    rows: Dict[str, Dict[str, Dict[str, float]]] = {}
    # A trained pooling without its encoder means nothing: what was before is the mean.
    shares = [0.0, *recipe.mixes]
    for share in shares:
        bert, pooling, _ = load(out, base, share)
        if share == 0.0:
            pooling = Mean()
        rows[str(share)] = validation(bert, pooling, tokens, helds, max_tokens or recipe.max_tokens, precision)
        print(f"share {share}: " + summary(rows[str(share)]), flush=True)
    write_run(out, {"validation": rows, "validation_tokens": max_tokens or recipe.max_tokens, "share": best(rows)})
    print(f"chosen: {best(rows)}")


def validation(
    bert: Bert, pooling: Pooling, tokens: Tokens, helds: List[Held], max_tokens: int, precision: str
) -> Dict[str, Dict[str, float]]:
    return {held.name: means(measure(bert, pooling, tokens, held, max_tokens, precision)) for held in helds}


def best(rows: Dict[str, Dict[str, Dict[str, float]]]) -> float:
    """The share with the best mean of two means: over sources that were trained on, and over those
    that were not, because an encoder is for texts of either kind. It may not be worse than the
    encoder was on any that was not trained on."""

    before = rows["0.0"]
    allowed = {
        share: row
        for share, row in rows.items()
        if all(row[name]["ndcg@10"] >= before[name]["ndcg@10"] for name in UNTOUCHED if name in row)
    }
    return float(max(allowed, key=lambda share: standing(allowed[share])))


def standing(row: Dict[str, Dict[str, float]]) -> float:
    """The mean of two means: over sources that were trained on, and over those that were not."""
    kinds = ([v["ndcg@10"] for name, v in row.items() if (name in UNTOUCHED) == kind] for kind in (False, True))
    return float(np.mean([np.mean(values) for values in kinds if values]))


def summary(row: Dict[str, Dict[str, float]]) -> str:
    mean = np.mean([values["ndcg@10"] for values in row.values()])
    return "  ".join(f"{name} {values['ndcg@10']:.4f}" for name, values in row.items()) + f"  mean {mean:.4f}"
