"""A training run from a recipe to a folder: train, choose on what was held out, report."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from encoders import place
from encoders.data import EVALUATION, Source, evaluation, read
from encoders.export import BASE
from encoders.place import MEASURED, REPORTS
from encoders.significance import paired
from encoders.texts import device_of

from .first_stage import DEPTH, candidates
from .measures import blended, calibrate, means, measures, probability
from .model import CrossEncoder
from .pairs import Tokeniser, longest_query, pairs_of, score
from .recipe import Recipe
from .trainer import Prepared, Trainer

RUN = "run.json"
CHECKPOINT = "checkpoint.pt"
EVALUATED = "scores-evaluation.npz"
#: Held-out queries to choose by, at most. Each is searched for in its whole source.
VALIDATION = {"scifact": 164, "nfcorpus": 100, "medquad": 100, "graph-docstrings": 150}
#: Of those, what training never touched.
UNTOUCHED = ("graph-docstrings",)
#: Of a model that has not learned yet: it can be looked at, and is not exported.
UNCALIBRATED = (1.0, 0.0)
#: Weights of the re-ranker against the first stage that are tried.
WEIGHTS = tuple(round(0.05 * i, 2) for i in range(21))


def train(recipe: Recipe, out: Path, data: Path, base: Path, cache: Path) -> None:
    """Writes the weights after the first and after the last stage and `run.json` into `out`; goes on
    from the checkpoint there."""
    if recipe.base != BASE:
        raise ValueError(f"{recipe.name}: what is served starts from {BASE}; another base is for the study alone")
    out.mkdir(parents=True, exist_ok=True)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    device = device_of(recipe.device)
    tokeniser = Tokeniser(base)
    sources: Dict[str, Prepared] = {}
    about: Dict[str, Dict[str, object]] = {}
    for name, limit in recipe.limits().items():
        source = read(data, name, limit or None)
        lists = candidates(source, base, cache, data)
        most = recipe.train_tokens
        pairs = pairs_of(tokeniser, source.queries, source.texts, recipe.query_tokens, most).to(device)
        sources[name] = Prepared(source, lists, pairs)
        about[name] = {
            "licence": source.licence,
            "texts": len(source.texts),
            "training_queries": len(source.training),
            "held_out_queries": len(source.held_out),
        }
    model = CrossEncoder.start(base, recipe.seed).to(device)
    begun_with: Dict[str, object] = {}
    if recipe.start:
        earlier = out.parent / recipe.start
        model.load_trained(state_of(earlier, "chosen"))
        run = read_run(earlier)
        begun_with = {"start": {"recipe": run["recipe"]["name"], "steps": run["steps"], "seconds": run["seconds"]}}
    coupled = any(stage.way == "cet" for stage in recipe.stages)
    selection = CrossEncoder.start(base, recipe.seed + 1000).to(device) if coupled else None
    trainer = Trainer(recipe, model, selection, sources, out / CHECKPOINT)
    for number in range(trainer.begun, len(recipe.stages)):
        log = trainer.run(number)
        trainer.logs.append({"steps": len(log.values), **log.summary()})
        print(f"{recipe.name}, stage {number}: {trainer.logs[-1]}, {trainer.seconds:.0f} s", flush=True)
        if number == 0 and len(recipe.stages) > 1:
            save(model.trained_state(), out, "before")
        if selection is not None and number == 0 and len(recipe.stages) > 1:
            # S begins as R stands: it has the same task but for the weights.
            selection.load_trained(model.trained_state())
            with torch.no_grad():
                selection.classifier.weight.add_(CrossEncoder.start(base, recipe.seed + 1000).classifier.weight.to(device))
    save(model.trained_state(), out, "after")
    write_run(
        out,
        {
            "recipe": recipe.to_dict(),
            **begun_with,
            "sources": about,
            "logs": trainer.logs,
            "steps": trainer.steps,
            "cut_off": trainer.cut_off,
            "seconds": round(trainer.seconds, 1),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
        },
    )


def save(state: Dict[str, Tensor], out: Path, name: str) -> None:
    """In two files of 16 bits each, NAME-0 and NAME-1."""
    names = sorted(state)
    for number, some in enumerate((names[: len(names) // 2], names[len(names) // 2 :])):
        save_file({key: state[key].half().contiguous().cpu() for key in some}, out / f"{name}-{number}.safetensors")


def state_of(out: Path, name: str) -> Dict[str, Tensor]:
    found: Dict[str, Tensor] = {}
    for number in range(2):
        path = out / f"{name}-{number}.safetensors"
        if not path.is_file():
            raise place.Missing(f"{path} does not exist: train into that folder first")
        found.update({key: value.float() for key, value in load_file(path).items()})
    return found


def save_scores(scores: Dict[str, NDArray[np.float32]], path: Path, about: Optional[Dict[str, object]] = None) -> None:
    """Of every list, as they are before calibration, and what they are of."""
    np.savez_compressed(path, about=np.array(json.dumps(about or {})), **scores)


def identity(choice: Dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(choice, sort_keys=True).encode()).hexdigest()[:16]


def known_scores(out: Path, choice: Dict[str, object], depth: int, queries: int) -> Dict[str, NDArray[np.float32]]:
    """What a report that was stopped had scored, if it was of the same choice."""
    path = out / EVALUATED
    if not path.is_file():
        return {}
    with np.load(path) as found:
        about = json.loads(str(found["about"])) if "about" in found else {}
        if about != {"choice": identity(choice), "depth": depth, "queries": queries}:
            return {}
        return {name: found[name] for name in found.files if name != "about"}


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


def load(out: Path, base: Path) -> Tuple[CrossEncoder, Recipe]:
    """The chosen weights of a run."""
    recipe = Recipe.of(read_run(out)["recipe"])
    model = CrossEncoder.start(base, recipe.seed)
    model.load_trained(state_of(out, "chosen"))
    return model.to(device_of(recipe.device)), recipe


class Held:
    """Queries over a collection, with the first stage's lists for them."""

    def __init__(
        self,
        source: Source,
        queries: Sequence[int],
        data: Path,
        base: Path,
        cache: Path,
        tokeniser: Tokeniser,
        recipe: Recipe,
        depth: int = DEPTH,
    ) -> None:
        self.name = source.name
        self.relevant = [source.relevant[q] for q in queries]
        lists = candidates(source, base, cache, data)
        rows = list(queries)
        self.lists, self.first = lists.fused[rows, :depth], lists.scores[rows, :depth]
        device = device_of(recipe.device)
        texts = [source.queries[q] for q in rows]
        self.pairs = pairs_of(tokeniser, texts, source.texts, longest_query(recipe.max_tokens), recipe.max_tokens).to(device)

    def score(self, model: CrossEncoder, recipe: Recipe) -> NDArray[np.float32]:
        budget = 65536 if next(model.parameters()).is_cuda else 4096
        return score(model, self.pairs, self.lists, recipe.max_tokens, recipe.precision, budget)

    def judged(self) -> NDArray[np.bool_]:
        """[queries, depth]: is a relevant document of its query."""
        return np.array([[d in judged for d in row.tolist()] for row, judged in zip(self.lists, self.relevant)])

    def measure(self, scores: NDArray) -> Dict[str, NDArray[np.float64]]:
        return measures(self.lists, scores, self.relevant)


def held_out(recipe: Recipe, data: Path, base: Path, cache: Path, scale: float = 1.0, depth: int = DEPTH) -> List[Held]:
    """Held-out queries of VALIDATION, spread evenly over what is held out, with the first `depth`
    candidates of each; `scale` below 1 for a part of the queries."""
    tokeniser = Tokeniser(base)
    limits = recipe.limits()
    found = []
    for name, most in VALIDATION.items():
        source = read(data, name, limits.get(name) or None)
        count = min(len(source.held_out), max(4, int(most * scale)))
        queries = [source.held_out[i] for i in np.linspace(0, len(source.held_out) - 1, count).astype(int)]
        found.append(Held(source, queries, data, base, cache, tokeniser, recipe, depth))
    return found


def choose(out: Path, data: Path, base: Path, cache: Path, scale: float = 1.0, depth: int = DEPTH) -> None:
    """Scores the held-out lists with every mix of the weights, fits the calibration, and keeps the
    mix and the weight against the first stage that do best: the mean of two means, over sources
    that were trained on and over those that were not. A choice may not be worse than the first
    stage on the latter."""
    started = time.monotonic()
    recipe = Recipe.of(read_run(out)["recipe"])
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    helds = held_out(recipe, data, base, cache, scale, depth)
    after = state_of(out, "after")
    mixes = recipe.mixes if len(recipe.stages) > 1 else [1.0]
    before = state_of(out, "before") if len(recipe.stages) > 1 else after
    model = CrossEncoder.start(base, recipe.seed).to(device_of(recipe.device))
    rows: List[Dict[str, object]] = []
    best: Optional[Dict[str, object]] = None
    first = {held.name: means(held.measure(held.first)) for held in helds}
    for share in mixes:
        state = {name: (1 - share) * before[name] + share * after[name] for name in after}
        model.load_trained(state)
        scores = {held.name: held.score(model, recipe) for held in helds}
        try:
            temperature, offset = calibration(helds, scores)
        except ValueError as problem:
            print(f"share {share}: not calibrated: {problem}", flush=True)
            temperature, offset = UNCALIBRATED
        for weight in WEIGHTS[1:]:
            row: Dict[str, object] = {"share": share, "weight": weight, "temperature": temperature, "offset": offset, "depth": depth}
            row["means"] = {
                held.name: means(held.measure(mix_of(held.lists, held.first, scores[held.name], temperature, offset, weight)))
                for held in helds
            }
            row["value"] = value(row["means"])
            row["allowed"] = all(row["means"][n]["ndcg@10"] >= first[n]["ndcg@10"] for n in UNTOUCHED if n in first)
            rows.append(row)
            if row["allowed"] and (best is None or row["value"] > best["value"]):
                best = row
                save(state, out, "chosen")
                save_scores(scores, out / "scores-held-out.npz")
        print(f"share {share}: " + str(max((r for r in rows if r["share"] == share), key=lambda r: r["value"])), flush=True)
    if best is None:
        # Nothing helped where it was not trained: the least intrusive choice, and said so.
        best = max(rows, key=lambda row: row["value"])
        save(after, out, "chosen")
        best["allowed"] = False
    how = {"scale": scale, "depth": depth, "queries": {held.name: len(held.lists) for held in helds}}
    write_run(out, {"chosen_with": how, "first_stage": first, "first_value": value(first), "validation": rows, "chosen": best})
    print(f"chosen: {best}; first stage {value(first):.5f} {first}; {time.monotonic() - started:.0f} s", flush=True)


def value(row: Dict[str, Dict[str, float]]) -> float:
    kinds = [[v["ndcg@10"] for name, v in row.items() if (name in UNTOUCHED) == kind] for kind in (False, True)]
    return round(float(np.mean([np.mean(values) for values in kinds if values])), 6)


def mix_of(lists: NDArray, first: NDArray, scores: NDArray, temperature: float, offset: float, weight: float) -> NDArray:
    return blended(lists, first, probability(np.where(lists >= 0, scores, 0.0), temperature, offset), weight)


def calibration(helds: Sequence[Held], scores: Dict[str, NDArray]) -> Tuple[float, float]:
    """Over the held-out pairs of all sources; every source weighs the same."""
    generator = np.random.default_rng(0)
    xs, ys = [], []
    most = min(int((held.lists >= 0).sum()) for held in helds)
    for held in helds:
        some = np.flatnonzero((held.lists >= 0).ravel())
        if len(some) > most:
            some = generator.choice(some, most, replace=False)
        xs.append(scores[held.name].ravel()[some])
        ys.append(held.judged().ravel()[some])
    return calibrate(np.concatenate(xs), np.concatenate(ys))


def report(
    out: Path,
    data: Path,
    base: Path,
    cache: Path,
    reports: Path,
    collections: Sequence[str] = tuple(EVALUATION),
    queries: int = 0,
    depth: int = DEPTH,
) -> Dict[str, Dict[str, float]]:
    """Re-ranks the first stage's lists of the evaluation sets with the chosen weights and writes
    reports/rerankers/NAME.json with every query's value. Nothing is chosen here."""
    run = read_run(out)
    model, recipe = load(out, base)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    tokeniser = Tokeniser(base)
    best = run["chosen"]
    found: Dict[str, Dict[str, object]] = {}
    summary: Dict[str, Dict[str, float]] = {}
    all_scores = known_scores(out, best, depth, queries)
    for name in collections:
        source = evaluation(data, name)
        held = Held(source, range(len(source.queries))[: queries or None], data, base, cache, tokeniser, recipe, depth)
        if name not in all_scores:
            all_scores[name] = held.score(model, recipe)
            save_scores(all_scores, out / EVALUATED, {"choice": identity(best), "depth": depth, "queries": queries})
        scores = all_scores[name]
        values = {
            "first": held.measure(held.first),
            "reranked": held.measure(mix_of(held.lists, held.first, scores, best["temperature"], best["offset"], best["weight"])),
            "alone": held.measure(scores),
        }
        found[name] = {
            kind: {"means": means(value), "queries": {key: [round(float(v), 5) for v in each] for key, each in value.items()}}
            for kind, value in values.items()
        }
        first, after = values["first"]["ndcg@10"], values["reranked"]["ndcg@10"]
        summary[name] = {
            "first": round(float(first.mean()), 4),
            "reranked": round(float(after.mean()), 4),
            "alone": round(float(values["alone"]["ndcg@10"].mean()), 4),
            "p": round(paired(after, first), 4),
        }
        print(f"{out.name}  {name} ({EVALUATION[name]})  {summary[name]}", flush=True)
    write_report(out.name, reports, {"chosen": best, "recipe": run["recipe"], "depth": depth, "queries": queries, "summary": summary, "collections": found})
    return summary


def write_report(name: str, reports: Path, content: Dict[str, object]) -> None:
    folder = reports / "rerankers"
    folder.mkdir(parents=True, exist_ok=True)
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    (folder / f"{name}.json").write_text(json.dumps({"name": name, "when": when, **content}) + "\n", encoding="utf-8")
    # One line a run: the record of what was ever measured on the evaluation sets, kept in the repository.
    kept = MEASURED / "rerankers" if reports == REPORTS else folder
    with open(kept / "log.jsonl", "a", encoding="utf-8") as log:
        log.write(json.dumps({"when": when, "name": name, "summary": content["summary"]}) + "\n")
