#!/usr/bin/env python3
"""Brings everything a build needs into one cache folder.

    setup.py                      tools, libraries, weights, RocksDB, env.sh
    setup.py models --binary B    the models that are provided, made by `gleaner models add`
    setup.py launcher --binary B  bin/gleaner, which finds the libraries by itself
    setup.py training             what only training needs beside the first
    setup.py --verify             the first, reading every cached file to check it

Each step looks first at what is there, so that a second run takes a second and
needs no network. See docs/setup.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent))

import registry  # noqa: E402
import rocksdb  # noqa: E402
import toolchain  # noqa: E402
from cache import Cache, cache_folder, extract, require_space, write_atomically  # noqa: E402
from console import SetupError, duration, fail, megabytes, say  # noqa: E402

PROJECT = Path(__file__).resolve().parent.parent
LAUNCHER = PROJECT / "bin" / "gleaner"
ASSETS = Path(__file__).resolve().parent / "assets.json"

PRECISION = "int8"
# Raise it when `gleaner models add` makes another model of the same files.
MODEL_RECIPE = "2"
# The published weights that every model here stands on.
BASE = "all-MiniLM-L6-v2"


class Model(NamedTuple):
    """A model that set-up provides: the published weights themselves, or layers that were trained
    here (models/NAME), which take the word embeddings and the tokenizer from those."""

    name: str
    layers: Optional[Path] = None


MODELS = [
    Model("gleaner-minilm", PROJECT / "models" / "gleaner-minilm"),
    Model("gleaner-reranker", PROJECT / "models" / "gleaner-reranker"),
    Model("gleaner-linker", PROJECT / "models" / "gleaner-linker"),
    Model("gleaner-generator", PROJECT / "models" / "gleaner-generator"),
    Model("gleaner-code", PROJECT / "models" / "gleaner-code"),
    Model("all-minilm-l6-v2"),
]

# What cargo leaves after debug, release and lints.
TARGET_BYTES = 6_000_000_000

# A variable that brings an asset of the caller's own, and the asset it replaces.
GIVEN = {"libclang": "LIBCLANG_PATH", "onnxruntime": "ORT_DYLIB_PATH"}


def load_assets() -> Dict[str, Any]:
    return dict(json.loads(ASSETS.read_text(encoding="utf-8")))


def assets_of(step: str) -> Dict[str, Any]:
    """Those that a step brings: an asset that names none belongs to the libraries."""
    return {name: asset for name, asset in load_assets().items() if asset.get("step", "libraries") == step}


def wheel_of(source: Mapping[str, Any], architecture: str) -> registry.Wheel:
    wheels = source["wheels"]
    chosen = wheels.get(architecture) or wheels["any"]
    return registry.Wheel(source["package"], source["version"], **chosen)


def ensure_asset(cache: Cache, name: str, asset: Mapping[str, Any], architecture: str, verify: bool) -> Path:
    """The folder of an asset, fetched from its first source that delivers."""
    target = cache.path(asset["folder"])
    wheels = [(wheel_of(source, architecture), source["take"]) for source in asset["sources"]]
    for wheel, take in wheels:
        if cache.is_fresh(name, asset_key(wheel, take), verify):
            say(name, f"{wheel.version} is in place")
            return target
    troubles: List[str] = []
    for wheel, take in wheels:
        say(name, f"fetching {wheel.package} {wheel.version} ({megabytes(wheel.bytes)})")
        try:
            install_wheel(cache, name, wheel, take, target)
            return target
        except SetupError as error:
            troubles.append(f"{wheel.package} {wheel.version}: {error}")
            if len(troubles) < len(wheels):
                say(name, f"failed, trying another source: {error}")
    raise SetupError(f"cannot get {name} ({asset['purpose']}). " + "\n  ".join(troubles))


def asset_key(wheel: registry.Wheel, take: Mapping[str, str]) -> Dict[str, Any]:
    return {"wheel": wheel.file, "sha256": wheel.sha256, "take": dict(take)}


def install_wheel(
    cache: Cache, name: str, wheel: registry.Wheel, take: Mapping[str, str], target: Path
) -> None:
    # The wheel and what comes out of it lie side by side for a moment.
    require_space(cache.root, wheel.bytes * 5, f"unpacking {wheel.package}")
    with cache.staging() as staging:
        archive = registry.fetch(wheel, staging)
        prepared = staging / "files"
        prepared.mkdir()
        extract(archive, take, prepared)
        cache.install(prepared, target)
    cache.write_stamp(name, asset_key(wheel, take), [target])


def given_path(name: str, own: Path, environment: Mapping[str, str]) -> Optional[str]:
    """What the caller brings in place of an asset, checked; None where it is ours."""
    variable = GIVEN.get(name, "")
    named = environment.get(variable)
    if not named or Path(named) in (own, own.parent):
        return None
    path = Path(named)
    if name == "libclang" and path.is_dir():
        usable = any(path.glob("libclang*.so*"))
    else:
        usable = path.is_file()
    if not usable:
        raise SetupError(f"{variable} is {named}, which is no {name} library: correct it or unset it")
    return named


def prepare_libraries(cache: Cache, environment: Mapping[str, str], verify: bool) -> Dict[str, str]:
    """Every step before the project's own build; returns the variables for env.sh."""
    started = time.monotonic()
    toolchain.check_python()
    architecture = toolchain.architecture()
    rust = toolchain.rust_versions((PROJECT / "Cargo.toml").read_text(encoding="utf-8"))
    cxx = toolchain.cxx_compiler(environment)
    cc = toolchain.c_compiler(environment)
    say("tools", f"rustc {rust}, {cxx}, {architecture}")

    variables: Dict[str, str] = {}
    for name, asset in assets_of("libraries").items():
        provided = cache.path(asset["folder"], asset["provides"])
        given = given_path(name, provided, environment)
        if given:
            say(name, f"{given}, from {GIVEN[name]}")
            variables[GIVEN[name]] = given
            continue
        ensure_asset(cache, name, asset, architecture, verify)
        if name == "libclang":
            variables["LIBCLANG_PATH"] = str(provided.parent)
            variables["BINDGEN_EXTRA_CLANG_ARGS"] = f"-isystem {toolchain.builtin_headers(cc)}"
        elif name in GIVEN:
            variables[GIVEN[name]] = str(provided)
    if environment.get("BINDGEN_EXTRA_CLANG_ARGS"):
        variables["BINDGEN_EXTRA_CLANG_ARGS"] = environment["BINDGEN_EXTRA_CLANG_ARGS"]

    variables.update(prepare_rocksdb(cache, architecture, {**environment, **variables}, verify))
    variables["CARGO_TARGET_DIR"] = environment.get("CARGO_TARGET_DIR") or str(cache.path("target"))
    prepare_target(Path(variables["CARGO_TARGET_DIR"]))
    variables["GLEANER_MODELS"] = str(cache.path("models"))
    write_environment(cache, variables)
    say("ready", f"{cache.path('env.sh')} ({duration(time.monotonic() - started)})")
    return variables


def prepare_target(folder: Path) -> None:
    """A first build is refused on a disk it would fill; later ones add little."""
    if not folder.exists():
        existing = next(parent for parent in folder.absolute().parents if parent.exists())
        require_space(existing, TARGET_BYTES, "a first build")


def prepare_rocksdb(
    cache: Cache, architecture: str, environment: Mapping[str, str], verify: bool
) -> Dict[str, str]:
    given = rocksdb.given(environment, cache.path("rocksdb", "lib"))
    if given:
        say("rocksdb", f"{given}, from ROCKSDB_LIB_DIR")
        names = ("ROCKSDB_LIB_DIR", "ROCKSDB_STATIC", "ROCKSDB_INCLUDE_DIR")
        return {name: environment[name] for name in names if environment.get(name)}
    folder = rocksdb.ensure(cache, PROJECT, architecture, environment, verify)
    return {"ROCKSDB_LIB_DIR": str(folder), "ROCKSDB_STATIC": "1"}


ENVIRONMENT_ORDER = [
    "LIBCLANG_PATH",
    "BINDGEN_EXTRA_CLANG_ARGS",
    "ROCKSDB_LIB_DIR",
    "ROCKSDB_STATIC",
    "ROCKSDB_INCLUDE_DIR",
    "ORT_DYLIB_PATH",
    "CARGO_TARGET_DIR",
    "GLEANER_MODELS",
]


def write_environment(cache: Cache, variables: Mapping[str, str]) -> None:
    """env.sh, for `. env.sh` in any POSIX shell; the Makefile reads it too."""
    lines = [
        f"export {name}={shlex.quote(variables[name])}" for name in ENVIRONMENT_ORDER if name in variables
    ]
    write_atomically(cache.path("env.sh"), "\n".join(lines) + "\n")


# The models


def model_command(binary: Path, model: Model, base: Path, into: Path) -> List[str]:
    """The one place that knows how the program takes a model in."""
    command = [str(binary), "models", "add", str(model.layers or base), "--name", model.name]
    if model.layers:
        command += ["--base", str(base)]
    return command + ["--precision", PRECISION, "--into", str(into)]


def ensure_model(cache: Cache, model: Model, binary: Path, verify: bool) -> Path:
    """models/NAME in the cache, made by the program from the fetched weights."""
    target = cache.path("models", model.name)
    stamp, key = f"model-{model.name}", model_key(model)
    if cache.is_fresh(stamp, key, verify):
        say("models", f"{model.name} ({PRECISION}) is in place")
        return target
    if not binary.is_file():
        raise SetupError(f"{binary} is not built: run `make build` first")
    say("models", f"making {model.name} ({PRECISION})")
    cache.forget(stamp)
    base = cache.path(load_assets()[BASE]["folder"])
    with cache.staging() as staging:
        command = model_command(binary, model, base, staging)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            raise SetupError(
                f"`{shlex.join(command)}` ended with status {done.returncode}; its message is above"
            )
        if not (staging / model.name).is_dir():
            raise SetupError(f"`{shlex.join(command)}` made no {model.name} folder")
        cache.install(staging / model.name, target)
    cache.write_stamp(stamp, key, [target])
    return target


def model_key(model: Model) -> Dict[str, Any]:
    """The base is named by what it came from: both sources hold the same bytes, and only the
    weights, tokenizer and configuration decide what the model is. Trained layers are named by
    their manifest, which holds the hashes of their files."""
    layers = described(model.layers) if model.layers else None
    return {"source": BASE, "layers": layers, "precision": PRECISION, "recipe": MODEL_RECIPE}


def described(folder: Path) -> str:
    """Digest of a manifest, and of the one whose layers it takes, where it has none of its own."""
    text = (folder / "trained.toml").read_bytes()
    shared = re.search(rb'^layers_of = "([^"/]+)"', text, re.MULTILINE)
    if shared:
        text += (folder.with_name(shared.group(1).decode()) / "trained.toml").read_bytes()
    return hashlib.sha256(text).hexdigest()


# The program, from any folder


def launcher(binary: Path, cache: Cache, environment: Mapping[str, str]) -> str:
    """A script that starts the program with the libraries set-up found. What the caller
    has set in the environment or the configuration still wins."""
    library = environment.get("ORT_DYLIB_PATH")
    if not library:
        raise SetupError(f"ORT_DYLIB_PATH is not set: `. {cache.path('env.sh')}` first, as `make build` does")
    return (
        "#!/bin/sh\n"
        "# Written by `make build`.\n"
        f'[ -n "$ORT_DYLIB_PATH" ] || ORT_DYLIB_PATH={shlex.quote(library)}\n'
        f'[ -n "$GLEANER_CACHE" ] || GLEANER_CACHE={shlex.quote(str(cache.root))}\n'
        "export ORT_DYLIB_PATH GLEANER_CACHE\n"
        f'exec {shlex.quote(str(binary.absolute()))} "$@"\n'
    )


def write_launcher(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, text)
    path.chmod(0o755)
    say("launcher", str(path))


def parse_arguments(arguments: Optional[List[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="setup.py", description=__doc__.split("\n")[0])
    parser.add_argument(
        "step",
        nargs="?",
        choices=["libraries", "models", "launcher", "training"],
        default="libraries",
        help="libraries (the default): all that precedes the build; models, launcher: what follows it; "
        "training: weights that only training needs",
    )
    parser.add_argument(
        "--binary", type=Path, help="the built `gleaner`, for the steps that follow the build"
    )
    parser.add_argument("--verify", action="store_true", help="read every cached file to check it")
    parsed = parser.parse_args(arguments)
    if parsed.step in ("models", "launcher") and not parsed.binary:
        parser.error(f"the {parsed.step} step needs --binary")
    return parsed


def main() -> None:
    options = parse_arguments()
    try:
        cache = Cache(cache_folder(os.environ))
        with cache.held():
            if options.step == "models":
                for model in MODELS:
                    ensure_model(cache, model, options.binary, options.verify)
            elif options.step == "training":
                for name, asset in assets_of("training").items():
                    ensure_asset(cache, name, asset, toolchain.architecture(), options.verify)
            elif options.step == "launcher":
                write_launcher(LAUNCHER, launcher(options.binary, cache, os.environ))
            else:
                prepare_libraries(cache, os.environ, options.verify)
    except SetupError as error:
        fail(error)
    except OSError as error:
        fail(SetupError(f"{error}: check that {cache_folder(os.environ)} can be written and has space"))
    except KeyboardInterrupt:
        fail(SetupError("interrupted; run again to go on"))


if __name__ == "__main__":
    main()
