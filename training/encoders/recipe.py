"""A recipe: everything that decides what a run makes. Read from TOML; `--set key=value` overrides."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional


@dataclass
class Part:
    """A source's share of a run."""

    name: str
    #: How often a batch is drawn from it, relative to the others.
    share: float
    #: At most that many training queries; 0 for all.
    limit: int = 0


@dataclass
class Stage:
    """A stretch of training. The first is retrieval with negatives from the batch; a second one
    blends other tasks in, with negatives from the batch off (NV-Embed, arXiv 2405.17428)."""

    steps: int
    #: Wall-clock seconds after which the stage ends even so; the learning rate falls to its end
    #: by whichever comes first. 0 for no such limit.
    seconds: float = 0.0
    sources: List[Part] = field(default_factory=list)
    #: Other queries' documents count as negatives.
    in_batch: bool = True
    #: Of the batches, those that tell kinds of questions apart instead of retrieving.
    kinds_share: float = 0.0


@dataclass
class Recipe:
    name: str
    seed: int = 1
    pooling: str = "mean"
    #: Latents of the poolings that have them; 0 for their own default.
    latents: int = 0
    #: Layers below this one stay as they are, their states computed once. 0 trains all of them.
    first_layer: int = 0
    queries: int = 24
    #: Hard negatives of each query in a batch.
    negatives: int = 1
    #: A negative may score at most that part of the answer's score under the teacher.
    ratio: float = 0.95
    #: Negatives are drawn from that many of the best candidates.
    among: int = 30
    query_tokens: int = 48
    text_tokens: int = 128
    #: Longest text when the trained encoder is measured and served.
    max_tokens: int = 256
    learning_rate: float = 3e-5
    #: Of the parameters that are new: the poolings'.
    head_learning_rate: float = 3e-4
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    temperature: float = 0.05
    #: gamma of the focal weights; 0 for none.
    focal: float = 0.5
    #: Mixed negatives count where this is true; needs two hard negatives.
    mixing: bool = False
    #: Weight of the distance to the teacher's distribution over a batch.
    distillation: float = 1.0
    teacher_temperature: float = 0.08
    #: Dimensions that the loss is taken over, with their weights.
    dimensions: Dict[str, float] = field(default_factory=lambda: {"384": 1.0, "192": 0.3, "96": 0.2})
    stages: List[Stage] = field(default_factory=list)
    #: Shares of the trained weights that are tried in the average with those from before.
    mixes: List[float] = field(default_factory=lambda: [0.5, 0.75, 1.0])
    precision: str = "fp32"
    device: str = "auto"
    threads: int = 0
    #: Seconds between checkpoints.
    checkpoint_every: float = 300.0

    @staticmethod
    def read(path: Path, overrides: Optional[List[str]] = None) -> "Recipe":
        """Raises ValueError naming a key that does not exist."""
        values = values_of(path, overrides)
        stages = []
        for stage in values.pop("stages", []):
            parts = [only(Part, part, path) for part in stage.pop("sources", [])]
            stages.append(only(Stage, {**stage, "sources": parts}, path))
        return only(Recipe, {"name": path.stem, **values, "stages": stages}, path)

    def to_dict(self) -> Dict[str, Any]:
        return dataclasses.asdict(self)

    def parts(self) -> Dict[str, int]:
        """Every source with its limit."""
        return limits(self.name, self.stages)


def values_of(path: Path, overrides: Optional[List[str]]) -> Dict[str, Any]:
    """What a recipe's file says, and `key=value` in its place."""
    with open(path, "rb") as file:
        values = tomllib.load(file)
    for override in overrides or []:
        key, _, text = override.partition("=")
        try:
            values[key] = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            values[key] = text
    return values


def limits(name: str, stages: Iterable[Any]) -> Dict[str, int]:
    """Every source of the stages with its limit, which is one."""
    found: Dict[str, int] = {}
    for stage in stages:
        for part in stage.sources:
            if found.setdefault(part.name, part.limit) != part.limit:
                raise ValueError(f"{name}: {part.name} has two limits")
    return found


def only(kind: Any, values: Dict[str, Any], path: Path) -> Any:
    """A dataclass of these values; raises ValueError naming a key that it does not have."""
    known = {f.name for f in dataclasses.fields(kind)}
    for key in values:
        if key not in known:
            raise ValueError(f"{path}: `{key}` is not a setting; there are {', '.join(sorted(known))}")
    return kind(**values)
