#!/usr/bin/env python3
"""Encoders side by side: what `make bench-encoders` runs.

    bench_encoders.py [--without-peers]

Installs sentence-transformers (benches/peers/requirements-encoders.txt) into a virtual
environment in the cache folder, once, and runs the bench `embeddings`, which measures this
project and the peer on the same texts. Where it cannot be installed (no network), the peer is
left out with a message.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import Cache, cache_folder  # noqa: E402
from console import SetupError, fail, say  # noqa: E402
from environment import ensure_environment  # noqa: E402
from measure import bench_data  # noqa: E402
from setup import BASE, PROJECT, load_assets  # noqa: E402

REQUIREMENTS = PROJECT / "benches" / "peers" / "requirements-encoders.txt"
#: PyTorch brings its CUDA libraries along.
VENV_BYTES = 9_000_000_000


def peer(root: Path) -> Dict[str, str]:
    """The variables by which the bench finds the peer; none where it cannot be had."""
    cache = Cache(root)
    try:
        python = ensure_environment("peers", root / "encoder-peers", REQUIREMENTS, VENV_BYTES)
    except SetupError as error:
        say("peers", f"sentence-transformers is left out: {error}")
        return {}
    return {
        "GLEANER_PEER_PYTHON": str(python),
        "GLEANER_PEER_MODEL": str(cache.path(load_assets()[BASE]["folder"])),
        "GLEANER_PEER_ONNX": str(root / "encoder-peers" / "int8"),
    }


def main(arguments: Optional[List[str]] = None) -> None:
    parser = argparse.ArgumentParser(prog="bench_encoders.py", description=__doc__.split("\n")[0])
    parser.add_argument("--without-peers", action="store_true", help="measure this project alone")
    options = parser.parse_args(arguments)
    data = bench_data(os.environ)
    if data is None:
        return
    try:
        variables = {} if options.without_peers else peer(cache_folder(os.environ))
        command = ["cargo", "bench", "--locked", "--bench", "embeddings"]
        variables["GLEANER_BENCH_DATA"] = str(data)
        status = subprocess.run(command, cwd=str(PROJECT), env={**os.environ, **variables}).returncode
        if status != 0:
            raise SetupError(f"the benchmark ended with status {status}; its message is above")
    except SetupError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
