#!/usr/bin/env python3
"""Encoder-decoder models exported by optimum: what `make test-generators` runs.

    generators.py --packages DIR

Installs the pinned exporter of tests/generators/requirements.txt into a virtual environment in the
cache folder (once; that alone needs a network), beside the packages of the virtual environment DIR,
which has PyTorch; exports small models with random weights; and runs the tests that read them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import List, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import cache_folder  # noqa: E402
from console import SetupError, fail  # noqa: E402
from environment import ensure_environment  # noqa: E402
from setup import PROJECT  # noqa: E402

TESTS = PROJECT / "tests" / "generators"


def run(packages: Path) -> None:
    python = ensure_environment(
        "generators", cache_folder(os.environ) / "generators-venv", TESTS / "requirements.txt"
    )
    there = [str(path) for path in packages.glob("lib/python3*/site-packages")]
    if not there:
        raise SetupError(f"{packages} is no virtual environment: run `make training-env`")
    # Its own packages come first: those of training are there for torch.
    own = [str(path) for path in python.parent.parent.glob("lib/python3*/site-packages")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(own + there), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as temporary:
        command = [str(python), str(TESTS / "export.py"), temporary]
        if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL).returncode != 0:
            raise SetupError("the models could not be exported; the message is above")
        command = ["cargo", "test", "--locked", "--test", "it", "--", "generators::", "--ignored", "--nocapture"]
        environment = {**os.environ, "GLEANER_GENERATORS": temporary}
        if subprocess.run(command, cwd=str(PROJECT), env=environment).returncode != 0:
            raise SetupError("exported models are not read as they should be; the message is above")


def main(arguments: Optional[List[str]] = None) -> None:
    parser = argparse.ArgumentParser(prog="generators.py", description=__doc__.split("\n")[0])
    parser.add_argument("--packages", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        run(options.packages.absolute())
    except SetupError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
