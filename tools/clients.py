#!/usr/bin/env python3
"""Official clients against the service: what `make test-clients` runs.

    clients.py --binary B

Installs the pinned clients of tests/clients/requirements.txt into a virtual environment in the
cache folder (once; that alone needs a network), serves with B on a port of its own, and runs
tests/clients/*.py against it. The model is a copy of the default one whose manifest allows
shorter vectors, and the reranker is made of the default encoder's weights with a classifier of
no sense: what vectors and scores are worth plays no part here.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import List, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import cache_folder  # noqa: E402
from console import SetupError, fail, say  # noqa: E402
from environment import ensure_environment  # noqa: E402
from setup import BASE, MODELS, PROJECT  # noqa: E402

TESTS = PROJECT / "tests" / "clients"
REQUIREMENTS = TESTS / "requirements.txt"
#: Longest that the service may take to start.
STARTING = 60.0
#: Name of the model that is asked, and the lengths that its vectors may have.
MODEL = "short"
LENGTHS = [64, 128]
#: Name of the reranker.
RERANKER = "judge"


def copy_of(binary: Path, model: str, models: Path) -> None:
    """A copy of a model in the folder `models`, under another name and for shorter vectors."""
    command = [str(binary), "models", "list", "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, universal_newlines=True)
    known = {entry["name"]: Path(entry["folder"]) for entry in json.loads(done.stdout or "[]")}
    if model not in known:
        raise SetupError(f"there is no model {model}: run `make models-for-tests`")
    shutil.copytree(known[model], models / MODEL)
    manifest = models / MODEL / "model.toml"
    text = manifest.read_text(encoding="utf-8").replace(f'name = "{model}"', f'name = "{MODEL}"', 1)
    text = re.sub(r"^matryoshka = \[[^\]]*\]\n", "", text, flags=re.MULTILINE)
    manifest.write_text(f"matryoshka = {LENGTHS}\n{text}", encoding="utf-8")



def reranker_of(binary: Path, source: Path, temporary: Path) -> None:
    """A cross-encoder in the published layout, with the encoder's layers, added to `models`."""
    folder = temporary / "published"
    folder.mkdir()
    shutil.copy(source / "tokenizer.json", folder)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config.update(architectures=["BertForSequenceClassification"], num_labels=1)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 128}', encoding="utf-8")
    with (source / "model.safetensors").open("rb") as weights:
        header = json.loads(weights.read(struct.unpack("<Q", weights.read(8))[0]))
        tensors = weights.read()
    hidden = config["hidden_size"]
    values = [math.sin(n) for n in range(hidden)] + [0.0]
    end = len(tensors)
    header["classifier.weight"] = {
        "dtype": "F32",
        "shape": [1, hidden],
        "data_offsets": [end, end + 4 * hidden],
    }
    header["classifier.bias"] = {
        "dtype": "F32",
        "shape": [1],
        "data_offsets": [end + 4 * hidden, end + 4 * hidden + 4],
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "model.safetensors").open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + tensors + struct.pack(f"<{hidden + 1}f", *values))
    command = [str(binary), "models", "add", str(folder), "--name", RERANKER]
    command += ["--into", str(temporary / "models")]
    if subprocess.run(command, stdin=subprocess.DEVNULL).returncode != 0:
        raise SetupError("the reranker could not be added; the message is above")


def serve(binary: Path, folder: Path) -> "tuple[subprocess.Popen[bytes], str]":
    """The service with a data folder of its own, once it answers."""
    log = folder / "log"
    # A port that was free a moment ago; whoever is quicker makes the start fail, loudly.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [str(binary), "serve", "--data", str(folder / "data"), "--listen", address]
    command += ["--models-dir", str(folder / "models")]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=str(folder))
    url = f"http://{address}"
    until = time.monotonic() + STARTING
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return process, url
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    process.kill()
    raise SetupError(f"the service did not start:\n{log.read_text(errors='replace')[-2000:]}")


def run(binary: Path, model: str) -> None:
    python = ensure_environment("clients", cache_folder(os.environ) / "clients-venv", REQUIREMENTS)
    with tempfile.TemporaryDirectory() as temporary:
        copy_of(binary, model, Path(temporary) / "models")
        reranker_of(binary, cache_folder(os.environ) / "sources" / BASE, Path(temporary))
        process, url = serve(binary, Path(temporary))
        # The same data and models, over standard input and output.
        command = [str(binary), "mcp", "--data", str(Path(temporary) / "data")]
        command += ["--models-dir", str(Path(temporary) / "models")]
        environment = {**os.environ, "MCP_COMMAND": json.dumps(command)}
        try:
            failed: List[str] = []
            for test in sorted(TESTS.glob("*.py")):
                say("clients", test.name)
                asked = [str(python), str(test), url, MODEL, RERANKER]
                if subprocess.run(asked, env=environment).returncode != 0:
                    failed.append(test.name)
        finally:
            process.terminate()
            process.wait(timeout=60)
    if failed:
        raise SetupError(f"failed: {', '.join(failed)}")


def main(arguments: Optional[List[str]] = None) -> None:
    parser = argparse.ArgumentParser(prog="clients.py", description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--model", default=MODELS[0].name)
    options = parser.parse_args(arguments)
    try:
        run(options.binary.absolute(), options.model)
    except SetupError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
