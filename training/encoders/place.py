"""Where things are: the folder of collections, the cache, the weights to start from."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
REPORTS = PROJECT / "reports"
#: Reports of runs that took a GPU, kept so that a later run adds to them.
MEASURED = PROJECT / "training" / "measured"


class Missing(Exception):
    """Something that has to be there first; the message says what to do."""


def data() -> Path:
    named = os.environ.get("GLEANER_BENCH_DATA")
    if not named or not Path(named).is_dir():
        raise Missing("GLEANER_BENCH_DATA does not name the folder of collections (docs/setup.md)")
    return Path(named)


def cache() -> Path:
    named = os.environ.get("GLEANER_CACHE")
    if named:
        return Path(named)
    shared = os.environ.get("XDG_CACHE_HOME")
    return Path(shared) / "gleaner" if shared else Path.home() / ".cache" / "gleaner"


def base(name: str = "all-MiniLM-L6-v2") -> Path:
    """Weights to start from, as set-up takes them out of the pinned package."""
    folder = cache() / "sources" / name
    if not (folder / "model.safetensors").is_file():
        raise Missing(f"{folder} does not hold the weights to start from: run `make setup training-env`")
    return folder


def work() -> Path:
    """What runs keep: vectors and states that are computed once, checkpoints."""
    return cache() / "training"
