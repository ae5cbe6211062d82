"""The comparison with the whole encoder trained: every pooling and variant, several seeds, several
runs side by side on one GPU.

Sources are mined once. Each run trains, chooses its mix on held-out queries and only then reports
on the evaluation sets. What a run has found is written at once; a second call makes what is missing.
`best` averages and ranks by what was held out, and by nothing else.
"""

from __future__ import annotations

import json
import multiprocessing
import pickle
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from . import place
from .data import EVALUATION, Source, evaluation, read
from .evaluate import Held, held_out, means, mixed, report_files, write
from .model import Bert
from .pooling import NAMES, Mean, Pooling
from .recipe import Recipe
from .run import LAYERS, best as best_share, read_run, save, standing, summary, write_run
from .significance import measures
from .teacher import mine
from .texts import Tokens, device_of, encode
from .trainer import Prepared, Trainer, prepare

#: Changes of the recipe that are tried with the mean, by name.
VARIANTS: Dict[str, Dict[str, object]] = {
    "mixing": {"mixing": True},
    "slow": {"learning_rate": 2e-5},
    "many": {"queries": 96, "negatives": 1},
    "plain": {"distillation": 0.0},
}


#: How the line of a run begins that did not end well.
FAILED = "failed:"


class Worker:
    """What a process keeps between runs."""

    here: Optional["Worker"] = None

    def __init__(self, data: Path, base: Path, prepared: Dict[str, Path]) -> None:
        torch.set_num_threads(2)
        self.base = base
        self.tokens = Tokens(base)
        self.data = data
        self.prepared = prepared
        self.sources: Dict[str, Prepared] = {}
        self.held: Optional[List[Tuple[Held, List[np.ndarray], List[np.ndarray]]]] = None
        self.reported: Optional[List[Tuple[Source, List[np.ndarray], List[np.ndarray]]]] = None

    def source(self, name: str) -> Prepared:
        if name not in self.sources:
            with open(self.prepared[name], "rb") as file:
                self.sources[name] = pickle.load(file)
        return self.sources[name]

    def validation(self, bert: Bert, pooling: Pooling, most: int) -> Dict[str, Dict[str, float]]:
        if self.held is None:
            self.held = [self.tokenised(held, most) for held in held_out(self.data)]
        return {held.name: means(measured(bert, pooling, held, *rows)) for held, *rows in self.held}

    def evaluation(self, bert: Bert, pooling: Pooling, most: int) -> Dict[str, Dict[str, np.ndarray]]:
        if self.reported is None:
            self.reported = [self.tokenised(evaluation(self.data, name), most) for name in EVALUATION]
        return {source.name: measured(bert, pooling, source, *rows) for source, *rows in self.reported}

    def tokenised(self, held: "Held | Source", most: int):
        return held, self.tokens.ids(held.texts, most), self.tokens.ids(held.queries, most)


def measured(bert: Bert, pooling: Pooling, held: "Held | Source", texts: List[np.ndarray], queries: List[np.ndarray]):
    budget = 65536 if next(bert.parameters()).is_cuda else 4096
    vectors = [encode(bert, pooling, rows, budget) for rows in (queries, texts)]
    return measures(*vectors, held.relevant)


def _start(*arguments: object) -> None:
    Worker.here = Worker(*arguments)


def _mine(task: Tuple[str, int, Recipe, Path, Path, Path]) -> Tuple[str, Dict[str, object]]:
    name, limit, recipe, data, base, file = task
    torch.set_num_threads(2)
    source = read(data, name, limit or None)
    tokens = Tokens(base)
    mined = mine(source, Bert.read(base).to(device_of(recipe.device)), tokens, None, recipe.text_tokens, recipe.precision)
    some = source.training[:: max(1, len(source.training) // 100)]
    about = {
        "licence": source.licence,
        "texts": len(source.texts),
        "training_queries": len(source.training),
        "held_out_queries": len(source.held_out),
        "teacher_ndcg@10": {w: round(mined.ndcg(some, w), 4) for w in (0.0, 0.5, 1.0)},
    }
    # The stemmer's handle is not a thing that can be written down, and is not needed any more.
    mined.words._stem = None
    with open(file, "wb") as out:
        pickle.dump(prepare(mined, tokens, recipe), out)
    return name, about


def _run(task: Tuple[Recipe, str, Path, Path, Dict[str, object]]) -> str:
    recipe, name, out, reports, about = task
    worker = Worker.here
    assert worker is not None
    started = time.monotonic()
    try:
        sources = {source: worker.source(source) for source in recipe.parts()}
        bert = Bert.read(worker.base).to(device_of(recipe.device))
        before = bert.trained_state()
        trainer = Trainer(recipe, bert, sources, out)
        trainer.run()
        (out / "checkpoint.pt").unlink(missing_ok=True)
        pooling = trainer.student.pooling
        trained = time.monotonic() - started
        save(bert, pooling, out)
        write_run(out, {
            "grid": True, "recipe": recipe.to_dict(), "sources": about, "steps": trainer.step,
            "seconds": round(trainer.seconds, 1), "torch": torch.__version__,
            "python": "", "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        })
        return _finish(worker, recipe, bert, pooling, before, bert.trained_state(), name, out, reports) + f", {trained:.0f} s of training"
    except Exception:
        return f"{FAILED} {name}\n{traceback.format_exc()}"


def _finish(worker: Worker, recipe: Recipe, bert: Bert, pooling: Pooling, before, after, name: str, out: Path, reports: Path) -> str:
    """Chooses the mix on what was held out, then reports."""
    rows: Dict[str, Dict[str, Dict[str, float]]] = {}
    for share in (0.0, *recipe.mixes):
        bert.load_state_dict(mixed(before, after, share), strict=False)
        rows[str(share)] = worker.validation(bert, Mean() if share == 0.0 else pooling, recipe.max_tokens)
    share = best_share(rows)
    write_run(out, {"validation": rows, "validation_tokens": recipe.max_tokens, "share": share})
    bert.load_state_dict(mixed(before, after, share), strict=False)
    found = worker.evaluation(bert, pooling if share else Mean(), recipe.max_tokens)
    write(name, found, reports, {"recipe": recipe.to_dict(), "pooling": recipe.pooling, "seed": recipe.seed, "share": share, "validation": rows[str(share)], "precision": "fp32", "max_tokens": recipe.max_tokens})
    line = "  ".join(f"{key} {value['ndcg@10'].mean():.4f}" for key, value in found.items())
    return f"{name}: share {share}, held out {summary(rows[str(share)])}; {line}"


def _soup(task: Tuple[List[Path], str, Path, Path]) -> str:
    """The average of several seeds' layers (model soups, Wortsman et al. 2022), chosen like a run."""
    parts, name, out, reports = task
    worker = Worker.here
    assert worker is not None
    try:
        run = read_run(parts[0])
        recipe = Recipe(**{k: v for k, v in run["recipe"].items() if k != "stages"})
        loaded = [load_file(part / LAYERS) for part in parts]
        after = {key: torch.stack([layers[key] for layers in loaded]).mean(0) for key in loaded[0]}
        out.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in after.items()}, out / LAYERS)
        runs = [read_run(part) for part in parts]
        write_run(out, {**run, "soup": [part.name for part in parts], "seconds": sum(r["seconds"] for r in runs)})
        bert = Bert.read(worker.base).to(device_of(recipe.device))
        before = bert.trained_state()
        after = {key: value.to(next(bert.parameters()).device) for key, value in after.items()}
        return _finish(worker, recipe, bert, Mean(), before, after, name, out, reports)
    except Exception:
        return f"{FAILED} {name}\n{traceback.format_exc()}"


def _base(task: Tuple[Recipe, str, Path]) -> str:
    recipe, name, reports = task
    worker = Worker.here
    assert worker is not None
    bert = Bert.read(worker.base).to(device_of(recipe.device))
    found = worker.evaluation(bert, Mean(), recipe.max_tokens)
    write(name, found, reports, {"recipe": {}, "pooling": "mean", "seed": None, "precision": "fp32", "max_tokens": recipe.max_tokens, "validation": worker.validation(bert, Mean(), recipe.max_tokens)})
    return f"{name}: " + "  ".join(f"{key} {value['ndcg@10'].mean():.4f}" for key, value in found.items())


def grid(
    recipe: Recipe,
    seeds: Sequence[int],
    jobs: int,
    data: Path,
    base: Path,
    runs: Path,
    reports: Path,
    poolings: Sequence[str] = tuple(NAMES),
    variants: Sequence[str] = tuple(VARIANTS),
) -> None:
    context = multiprocessing.get_context("spawn")
    started = time.monotonic()

    failed: List[str] = []

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started:.0f} s] {line}", flush=True)
        if line.startswith(FAILED):
            failed.append(line.splitlines()[0])

    if any(stage.kinds_share for stage in recipe.stages):
        raise ValueError(f"{recipe.name}: `kinds_share` is for `train`; a grid's runs retrieve only")
    runs.mkdir(parents=True, exist_ok=True)
    mined = {name: runs / f"{name}.pickle" for name in recipe.parts()}
    abouts = runs / "sources.json"
    about: Dict[str, object] = json.loads(abouts.read_text()) if abouts.is_file() else {}
    missing = [(name, limit, recipe, data, base, mined[name]) for name, limit in recipe.parts().items() if name not in about]
    if missing:
        with context.Pool(min(jobs, len(missing))) as pool:
            for name, found in pool.imap_unordered(_mine, missing):
                about[name] = found
                say(f"{name}: {found}")
        abouts.write_text(json.dumps(about))
    tasks = []
    for seed in seeds:
        for pooling in poolings:
            tasks.append((replace(recipe, pooling=pooling, seed=seed), f"{recipe.name}-{pooling}-{seed}"))
    for variant in variants:
        for seed in seeds:
            tasks.append((replace(recipe, seed=seed, **VARIANTS[variant]), f"{recipe.name}-{variant}-{seed}"))

    def there(name: str) -> bool:
        return bool(report_files(name, reports))

    with context.Pool(jobs, _start, (data, base, mined)) as pool:
        if not there(f"{recipe.name}-as-it-is"):
            base_task = pool.apply_async(_base, ((recipe, f"{recipe.name}-as-it-is", reports),))
        else:
            base_task = None
        todo = [(run, name, runs / name, reports, about) for run, name in tasks if not there(name)]
        for line in pool.imap_unordered(_run, todo):
            say(line)
        if base_task is not None:
            say(base_task.get())
        soups = []
        for kind in ("mean", *variants):
            parts = [runs / f"{recipe.name}-{kind}-{seed}" for seed in seeds]
            name = f"{recipe.name}-{kind}-soup"
            if all((part / LAYERS).is_file() for part in parts) and not there(name):
                soups.append((parts, name, runs / name, reports))
        for line in pool.imap_unordered(_soup, soups):
            say(line)
        pool.close()
        pool.join()
    if failed:
        raise ValueError(f"{len(failed)} runs did not end well: {'; '.join(failed)}")


def best(recipe: Recipe, runs: Path) -> Path:
    """The run with the mean as its pooling that does best on what was held out."""
    values = {}
    for path in sorted(runs.glob(f"{recipe.name}-*/run.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        if run["recipe"]["pooling"] != "mean" or "share" not in run:
            continue
        values[path.parent] = standing(run["validation"][str(run["share"])])
    if not values:
        raise ValueError(f"{runs} holds no run of {recipe.name} with the mean; those in {place.MEASURED} kept their measures alone")
    for path, value in sorted(values.items(), key=lambda item: -item[1]):
        print(f"{path.name}: {value:.5f}")
    return max(values, key=lambda path: values[path])

