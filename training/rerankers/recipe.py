"""A recipe: everything that decides what a run makes. Read from TOML; `--set key=value` overrides."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

from encoders.recipe import Part, limits, only, values_of

#: Where the negatives of a run come from, and whether their weights are corrected.
#: words: the first results of BM25. hard: those of the fusion, the strongest first stage there is.
#: random: like hard, but `random_share` of them drawn from the whole collection instead.
#: cet: like hard, with the coupled estimation.
WAYS = ("words", "hard", "random", "cet")


@dataclass
class Stage:
    """A stretch of training."""

    steps: int
    #: One of WAYS.
    way: str = "cet"
    #: Wall-clock seconds after which the stage ends even so; the learning rate falls to its end by
    #: whichever comes first. 0 for no such limit.
    seconds: float = 0.0
    sources: List[Part] = field(default_factory=list)
    #: Of the recipe's learning rates.
    rate: float = 1.0
    #: Weight of the distance to the first stage's own distribution over a query's list.
    distillation: float = 0.0


@dataclass
class Recipe:
    name: str
    seed: int = 1
    #: The published encoder whose layers and embeddings a run starts from (tools/assets.json). The
    #: first stage stands on all-MiniLM-L6-v2 whatever this is.
    base: str = "all-MiniLM-L6-v2"
    #: A run whose chosen weights this one goes on from, by the name of its folder beside this one's.
    start: str = ""
    #: Queries of a batch; each brings one relevant text and `negatives` others.
    queries: int = 32
    negatives: int = 1
    #: Negatives are drawn from that many of the best results that are not judged relevant.
    among: int = 20
    random_share: float = 0.5
    #: Texts of pairs while training, in tokens with the special ones; and when measured and served.
    query_tokens: int = 64
    train_tokens: int = 160
    max_tokens: int = 256
    learning_rate: float = 5e-5
    #: Of pooler and classifier, which are new.
    head_learning_rate: float = 3e-4
    #: Of the selection model, relative to both.
    selection_rate: float = 1.0
    warmup: float = 0.1
    weight_decay: float = 0.01
    #: Longest gradient of each model.
    clip: float = 1.0
    #: tau of the coupled weights, 1 + exp(score / tau); the paper has 10.
    tau: float = 10.0
    #: Largest coupled weight.
    largest_weight: float = 10.0
    #: Of the first stage's scores (0 to 1) where it teaches.
    teacher_temperature: float = 0.15
    stages: List[Stage] = field(default_factory=list)
    #: Shares of the weights after the last stage, averaged with those after the first (WiSE-FT).
    mixes: List[float] = field(default_factory=lambda: [0.5, 0.75, 1.0])
    precision: str = "bf16"
    device: str = "auto"
    threads: int = 0

    @staticmethod
    def read(path: Path, overrides: Optional[List[str]] = None) -> "Recipe":
        """Raises ValueError naming a key that does not exist."""
        values = values_of(path, overrides)
        return Recipe.of({"name": path.stem, **values}, path)

    @staticmethod
    def of(values: Dict[str, Any], path: Path = Path("recipe")) -> "Recipe":
        stages = []
        for stage in values.get("stages", []):
            parts = [only(Part, part, path) for part in stage.get("sources", [])]
            made = only(Stage, {**stage, "sources": parts}, path)
            if made.way not in WAYS:
                raise ValueError(f"{path}: `{made.way}` is not a way; there are {', '.join(WAYS)}")
            stages.append(made)
        return only(Recipe, {**values, "stages": stages}, path)

    def to_dict(self) -> Dict[str, Any]:
        return dataclasses.asdict(self)

    def limits(self) -> Dict[str, int]:
        """Every source with its limit."""
        return limits(self.name, self.stages)
