"""What a peer has to be able to do, and the settings that all graphs share."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Callable, Optional, Tuple

import numpy as np

# A graph of 16 neighbours a level, 32 on the lowest, from 200 candidates.
M = 16
EF_CONSTRUCTION = 200

Run = Callable[[], Any]
Decode = Callable[[Any], np.ndarray]


@dataclass(frozen=True)
class Search:
    """One request: unit f32 rows, how many neighbours of each, the width of the beam, and
    optionally one byte a point that says whether it may be found."""

    queries: np.ndarray
    k: int
    ef: int
    threads: int
    passing: Optional[np.ndarray]


class Peer:
    """A library under measurement: its name on the package index, and what to import, which
    happens before anything is timed or weighed."""

    name = ""
    package = ""
    module = ""
    settings = ""

    def __init__(self) -> None:
        self.library: Any = importlib.import_module(self.module)

    @property
    def version(self) -> str:
        return version(self.package)

    def build(self, base: np.ndarray, threads: int) -> float:
        """Indexes unit f32 rows under their numbers; returns the seconds the library took."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    def open(self, folder: Path, dimensions: int, count: int) -> None:
        raise NotImplementedError

    def plan(self, search: Search) -> Tuple[Run, Decode]:
        """What is timed, and what turns its last result into queries x k ids."""
        raise NotImplementedError


def no_filter(search: Search) -> None:
    if search.passing is not None:
        raise ValueError("this peer is not measured with filters")
