"""Builds RocksDB's static library once, and keeps it.

Compiling it takes longer than everything else together, and cargo would repeat
that for every profile. So it is built by cargo once, into a target folder of its
own that is then deleted, and every later build links the one archive through
ROCKSDB_LIB_DIR.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional

import toolchain
from cache import Cache, require_space
from console import SetupError, duration, say

LIBRARY = "librocksdb.a"
STAMP = "rocksdb"
OPTIMISATION = 2
CORE_MINUTES = 40
SPACE_BYTES = 1_500_000_000
# What it takes when the list of sources cannot be found.
SOURCES = 340
# Hardware CRC32C, which checks every block and log record. Any x86_64 since 2010 has it;
# for aarch64 these are RocksDB's own defaults, and it looks for the instructions at run time.
FLAGS = {"x86_64": "-msse4.2 -mpclmul", "aarch64": "-march=armv8-a+crc+crypto"}


def stamp_key(cargo_lock: str, cargo_toml: str, architecture: str) -> Dict[str, Any]:
    """Everything the archive's content depends on. A new key rebuilds it."""
    return {
        "librocksdb-sys": locked_version(cargo_lock, "librocksdb-sys"),
        "features": rocksdb_features(cargo_toml),
        "flags": FLAGS[architecture],
        "opt-level": OPTIMISATION,
        "architecture": architecture,
    }


def locked_version(cargo_lock: str, package: str) -> str:
    pattern = r'name = "' + re.escape(package) + r'"\nversion = "([^"]+)"'
    found = re.search(pattern, cargo_lock)
    if not found:
        raise SetupError(f"Cargo.lock does not name {package}: restore Cargo.lock")
    return found.group(1)


def rocksdb_features(cargo_toml: str) -> List[str]:
    found = re.search(r"^rocksdb\s*=\s*\{[^}\n]*?features\s*=\s*\[([^\]]*)\]", cargo_toml, re.MULTILINE)
    if not found:
        raise SetupError("Cargo.toml has no one-line `rocksdb = { .. features = [..] }`: restore that line")
    return sorted(re.findall(r'"([^"]+)"', found.group(1)))


def ensure(
    cache: Cache, project: Path, architecture: str, environment: Mapping[str, str], verify: bool
) -> Path:
    """The folder with the static library, built if what is there is not it."""
    target = cache.path("rocksdb", "lib")
    cargo_toml = (project / "Cargo.toml").read_text(encoding="utf-8")
    cargo_lock = (project / "Cargo.lock").read_text(encoding="utf-8")
    key = stamp_key(cargo_lock, cargo_toml, architecture)
    if cache.is_fresh(STAMP, key, verify):
        say("rocksdb", f"{key['librocksdb-sys']} is built")
        return target
    require_space(cache.root, SPACE_BYTES, "building RocksDB")
    cache.forget(STAMP)
    workplace = cache.path("rocksdb-build")
    started = time.monotonic()
    _compile(project, workplace, build_environment(environment, architecture), key["librocksdb-sys"])
    with cache.staging() as staging:
        prepared = staging / "lib"
        prepared.mkdir()
        shutil.copyfile(built_library(workplace), prepared / LIBRARY)
        cache.install(prepared, target)
    cache.write_stamp(STAMP, key, [target / LIBRARY])
    shutil.rmtree(workplace, ignore_errors=True)
    say("rocksdb", f"built in {duration(time.monotonic() - started)}")
    return target


def build_environment(environment: Mapping[str, str], architecture: str) -> Dict[str, str]:
    """The caller's, less what would make the crate link instead of compile, or make
    cargo look for a job server that this process does not pass on."""
    dropped = {"ROCKSDB_LIB_DIR", "ROCKSDB_STATIC", "CARGO_TARGET_DIR", "MAKEFLAGS", "MFLAGS"}
    kept = {name: value for name, value in environment.items() if name not in dropped}
    flags = (kept.get("CXXFLAGS", "") + " " + FLAGS[architecture]).strip()
    if flags:
        kept["CXXFLAGS"] = flags
    return kept


def built_library(workplace: Path) -> Path:
    """The archive in the build script's output folder; the newest, should two be left
    from an interrupted build with other flags."""
    found = sorted(
        workplace.glob(f"release/build/librocksdb-sys-*/out/{LIBRARY}"), key=lambda path: path.stat().st_mtime
    )
    if not found:
        raise SetupError(f"the build left no {LIBRARY} in {workplace}: remove that folder and run again")
    return found[-1]


def _compile(project: Path, workplace: Path, environment: Mapping[str, str], version: str) -> None:
    workplace.mkdir(parents=True, exist_ok=True)
    log = workplace / "build.log"
    minutes = math.ceil(CORE_MINUTES / toolchain.usable_cores())
    say("rocksdb", f"compiling {version}, once; about {minutes} minutes on this machine (log: {log})")
    command = ["cargo", "build", "--release", "--locked", "--package", "librocksdb-sys"]
    command += ["--config", f"profile.release.package.librocksdb-sys.opt-level={OPTIMISATION}"]
    command += ["--target-dir", str(workplace)]
    sources = count_sources(version, environment)
    with log.open("w", encoding="utf-8") as output:
        build = subprocess.Popen(
            command,
            cwd=str(project),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        finished = threading.Event()
        watcher = threading.Thread(target=_report, args=(workplace, sources, finished), daemon=True)
        watcher.start()
        try:
            status = build.wait()
        except BaseException:
            build.terminate()
            build.wait()
            raise
        finally:
            finished.set()
            watcher.join()
    if status != 0:
        raise SetupError(f"RocksDB did not build:\n{tail(log)}\n(all of it: {log})")


def _report(workplace: Path, sources: int, finished: threading.Event) -> None:
    while not finished.wait(60):
        done = sum(1 for _ in objects(workplace))
        say("rocksdb", f"{min(done, sources)} of {sources} files compiled")


def objects(workplace: Path) -> Iterable[Path]:
    return workplace.glob("release/build/librocksdb-sys-*/out/*.o")


def count_sources(version: str, environment: Mapping[str, str]) -> int:
    home = Path(environment.get("CARGO_HOME") or Path(environment.get("HOME", "/")) / ".cargo")
    for found in home.glob(f"registry/src/*/librocksdb-sys-{version}/rocksdb_lib_sources.txt"):
        return len(found.read_text(encoding="utf-8").split())
    return SOURCES


def tail(log: Path, lines: int = 25) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def given(environment: Mapping[str, str], own: Path) -> Optional[Path]:
    """A RocksDB the caller brings in ROCKSDB_LIB_DIR, checked; None where it is ours."""
    named = environment.get("ROCKSDB_LIB_DIR")
    if not named or Path(named) == own:
        return None
    wanted = LIBRARY if environment.get("ROCKSDB_STATIC") else "librocksdb.so"
    if not (Path(named) / wanted).is_file():
        raise SetupError(f"ROCKSDB_LIB_DIR is {named}, which has no {wanted}: correct it or unset it")
    return Path(named)
