"""The study of docs/rerankers.md: does training on judgments that one weak retriever left behind
suffer from the hard negatives of a stronger one, and does the coupled estimation mend it?

NFCorpus, whose judgments come from links and not from a pool, so that they are full: its training
judgments are thinned (thinning.py) to what BM25 would have shown, at two strengths. Each way of
training sees the same queries with the same relevant texts in the same order for the same number
of steps. Measured on the dev queries with all their judgments, re-ranking the fusion's first 100.
tau is chosen on the training queries that are held out, with a seed that no row of the table has.
"""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
import torch

from encoders.data import evaluation, read
from encoders.texts import device_of

from .first_stage import candidates
from .measures import means, measures
from .model import CrossEncoder
from .pairs import Tokeniser, pairs_of, score
from .recipe import WAYS, Recipe
from .thinning import STRENGTHS, thin
from .trainer import Prepared, Trainer

COLLECTION = "nfcorpus"
#: Seed of the runs that only choose.
CHOOSING = 0
TAUS = (1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Run:
    strength: str
    way: str
    seed: int
    tau: Optional[float] = None

    @property
    def name(self) -> str:
        tail = "" if self.tau is None else f"-tau{self.tau:g}"
        return f"{self.strength}-{self.way}-{self.seed}{tail}"


@dataclass
class Setting:
    """What a worker needs to make runs."""

    recipe: Recipe
    data: Path
    #: Of the first stage; `start` is what the re-rankers begin as.
    base: Path
    start: Path
    cache: Path
    #: Held-out and dev queries to use; 0 for all.
    queries: int = 0


class Worker:
    """Holds the collection for all the runs of one process."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        recipe = setting.recipe
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        self.device = device_of(recipe.device)
        tokeniser = Tokeniser(setting.start)
        self.train = read(setting.data, COLLECTION)
        self.dev = evaluation(setting.data, COLLECTION)
        self.train_lists = candidates(self.train, setting.base, setting.cache, setting.data)
        self.dev_lists = candidates(self.dev, setting.base, setting.cache, setting.data)
        self.train_pairs, self.dev_pairs = (
            pairs_of(tokeniser, source.queries, source.texts, recipe.query_tokens, recipe.train_tokens).to(self.device)
            for source in (self.train, self.dev)
        )

    def model(self, seed: int) -> CrossEncoder:
        return CrossEncoder.start(self.setting.start, seed).to(self.device)

    def make(self, run: Run) -> Dict[str, object]:
        recipe = replace(self.setting.recipe, seed=run.seed, **({} if run.tau is None else {"tau": run.tau}))
        recipe.stages = [replace(stage, way=run.way) for stage in recipe.stages]
        thinned = thin(self.train, self.train_lists.ranks, STRENGTHS[run.strength])
        sources = {COLLECTION: Prepared(thinned, self.train_lists, self.train_pairs)}
        model = self.model(run.seed)
        selection = self.model(run.seed + 1000) if run.way == "cet" else None
        checkpoint = self.setting.cache / "study" / f"{recipe.name}-{run.name}.pt"
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(recipe, model, selection, sources, checkpoint)
        log = trainer.run(0)
        found: Dict[str, object] = {
            "name": run.name,
            "strength": run.strength,
            "way": run.way,
            "seed": run.seed,
            "tau": recipe.tau if run.way == "cet" else None,
            "steps": trainer.steps,
            "cut_off": trainer.cut_off,
            "seconds": round(trainer.seconds, 1),
            "log": log.summary(),
        }
        started = time.monotonic()
        chooses = run.seed == CHOOSING
        source, lists, pairs = (
            (self.train, self.train_lists, self.train_pairs) if chooses else (self.dev, self.dev_lists, self.dev_pairs)
        )
        rows = np.array(source.held_out if chooses else range(len(source.queries)))
        rows = rows[: self.setting.queries or (200 if chooses else None)]
        fused = np.full_like(lists.fused, -1)
        fused[rows] = lists.fused[rows]
        budget = 65536 if self.device.type == "cuda" else 4096
        scores = score(model, pairs, fused, recipe.train_tokens, recipe.precision, budget)
        values = measures(fused[rows], scores[rows], [source.relevant[i] for i in rows])
        found["part"] = "held out" if chooses else "dev"
        found["means"] = means(values)
        if not chooses:
            found["queries"] = {key: [round(float(v), 5) for v in value] for key, value in values.items()}
        found["measuring_seconds"] = round(time.monotonic() - started, 1)
        checkpoint.unlink(missing_ok=True)
        return found


_worker: Optional[Worker] = None


def _with(parent: int) -> None:
    """Ends a worker whose parent is gone: nobody would take what it makes."""
    while os.getppid() == parent:
        time.sleep(2.0)
    os._exit(1)


def _begin(setting: Setting) -> None:
    global _worker
    threading.Thread(target=_with, args=(os.getppid(),), daemon=True).start()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(setting.recipe.threads or 2)
    _worker = Worker(setting)


def _make(run: Run) -> Dict[str, object]:
    if _worker is None:
        raise RuntimeError("the worker has not begun")
    return _worker.make(run)


def runs(seeds: Sequence[int]) -> List[Run]:
    """What the table needs, whole seeds first."""
    return [Run(strength, way, seed) for seed in seeds for strength in STRENGTHS for way in WAYS]


def chosen(found: Sequence[Dict[str, object]], default: float) -> float:
    """The tau with the best mean of nDCG@10 over the choosing runs."""
    by_tau: Dict[float, List[float]] = {}
    for row in found:
        if row["seed"] == CHOOSING:
            by_tau.setdefault(row["tau"], []).append(row["means"]["ndcg@10"])
    return max(by_tau, key=lambda tau: (np.mean(by_tau[tau]), tau)) if by_tau else default


def study(
    setting: Setting, out: Path, seeds: Sequence[int], jobs: int, seconds: float = 0.0, choose: Sequence[str] = ("strong",)
) -> None:
    """Makes what is missing of the study, `jobs` at a time, a JSON file a run into `out`; begins no
    run after `seconds`."""
    out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    first_stage(setting, out)
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("run-*.json"))]
    done = {row["name"] for row in found}
    choosing = [Run(strength, "cet", CHOOSING, tau) for strength in choose for tau in TAUS]
    choosing = [run for run in choosing if run.name not in done]
    waiting = [*choosing, *(run for run in runs(seeds) if run.name not in done)]
    if not waiting:
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (setting,)) as workers:
        running: Dict[Future, Run] = {}
        while waiting or running:
            late = seconds and time.monotonic() - begun > seconds
            if late:
                waiting = []
            undecided = any(run.seed == CHOOSING for run in [*waiting, *running.values()])
            for run in list(waiting):
                if len(running) >= jobs:
                    break
                if run.way == "cet" and run.seed != CHOOSING and undecided:
                    continue
                waiting.remove(run)
                ready = run
                if run.way == "cet" and run.seed != CHOOSING:
                    tau = chosen(found, setting.recipe.tau)
                    setting.recipe.tau = tau
                    ready = replace(run, tau=tau)
                running[workers.submit(_make, ready)] = run
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                run = running.pop(future)
                row = {**future.result(), "name": run.name}
                found.append(row)
                (out / f"run-{run.name}.json").write_text(json.dumps(row) + "\n", encoding="utf-8")
                print(
                    f"{time.monotonic() - begun:5.0f} s  {run.name}  {row['part']} {row['means']}  "
                    f"{row['seconds']} + {row['measuring_seconds']} s  {row['log']}",
                    flush=True,
                )


def first_stage(setting: Setting, out: Path) -> None:
    """How the list stands before it is re-ranked, and what thinning left."""
    train, dev = read(setting.data, COLLECTION), evaluation(setting.data, COLLECTION)
    lists, dev_lists = (candidates(source, setting.base, setting.cache, setting.data) for source in (train, dev))
    values = measures(dev_lists.fused, dev_lists.scores, dev.relevant)
    about: Dict[str, object] = {
        "recipe": setting.recipe.to_dict(),
        "means": means(values),
        "queries": {key: [round(float(v), 5) for v in value] for key, value in values.items()},
        "thinned": {},
    }
    among = setting.recipe.among
    for strength, depth in STRENGTHS.items():
        thinned = thin(train, lists.ranks, depth)
        some = [q for q in train.training if thinned.relevant[q]]
        false = {}
        for way, rows in (("words", lists.words), ("hard", lists.fused)):
            shares = []
            for q in some:
                others = [d for d in rows[q].tolist() if d >= 0 and d not in thinned.relevant[q]][:among]
                shares.append(np.mean([d in train.relevant[q] for d in others]) if others else 0.0)
            false[way] = round(float(np.mean(shares)), 4)
        about["thinned"][strength] = {
            "depth": depth,
            "queries": len(some),
            "all_queries": len(train.training),
            "judged_per_query": round(float(np.mean([len(thinned.relevant[q]) for q in some])), 2),
            "all_judged_per_query": round(float(np.mean([len(train.relevant[q]) for q in train.training])), 2),
            "false_negatives": false,
        }
    (out / "first-stage.json").write_text(json.dumps(about) + "\n", encoding="utf-8")
    print(f"first stage: {about['means']}, {about['thinned']}", flush=True)
