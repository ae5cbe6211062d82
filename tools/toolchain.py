"""What must be installed before anything is built, and how to get it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Mapping, Optional, Sequence, Tuple

from console import SetupError

PYTHON = (3, 9)
ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}

Which = Callable[[str], Optional[str]]


def architecture(machine: Optional[str] = None, system: Optional[str] = None) -> str:
    """`x86_64` or `aarch64`; anything else has no pinned binaries."""
    machine = (machine or platform.machine()).lower()
    system = system or platform.system()
    if system != "Linux" or machine not in ARCHITECTURES:
        raise SetupError(f"{system} on {machine} has no pinned binaries: use Linux on x86_64 or aarch64")
    return ARCHITECTURES[machine]


def check_python(version: Tuple[int, int] = sys.version_info[:2]) -> None:
    if version < PYTHON:
        raise SetupError(
            f"Python {version[0]}.{version[1]} is older than {PYTHON[0]}.{PYTHON[1]}: "
            "name a newer one, as in `make PYTHON=python3.11 test`"
        )


def cxx_compiler(environment: Mapping[str, str], which: Which = shutil.which) -> str:
    """The C++ compiler a build will use: $CXX, else c++, g++ or clang++."""
    return _compiler("CXX", ["c++", "g++", "clang++"], "C++", environment, which)


def c_compiler(environment: Mapping[str, str], which: Which = shutil.which) -> str:
    return _compiler("CC", ["cc", "gcc", "clang"], "C", environment, which)


def _compiler(
    variable: str, names: Sequence[str], language: str, environment: Mapping[str, str], which: Which
) -> str:
    named = environment.get(variable, "").split()
    if named:
        if which(named[0]):
            return " ".join(named)
        raise SetupError(f"{variable} names {named[0]}, which is not installed: correct or unset {variable}")
    for name in names:
        if which(name):
            return name
    raise SetupError(f"no {language} compiler found: apt-get install g++ (or your system's equivalent)")


def rust_versions(cargo_toml: str, which: Which = shutil.which) -> str:
    """Checks cargo, and rustc against `rust-version`; returns rustc's version."""
    wanted = minimum_rust(cargo_toml)
    for tool in ("cargo", "rustc"):
        if not which(tool):
            raise SetupError(f"{tool} not found: install Rust {wanted} or newer from https://rustup.rs")
    found = parse_version(_output(["rustc", "--version"]))
    if found < parse_version(wanted):
        shown = ".".join(map(str, found))
        raise SetupError(f"rustc {shown} is older than {wanted}: `rustup update`, or https://rustup.rs")
    return ".".join(map(str, found))


def minimum_rust(cargo_toml: str) -> str:
    found = re.search(r'^rust-version\s*=\s*"([\d.]+)"', cargo_toml, re.MULTILINE)
    if not found:
        raise SetupError("Cargo.toml states no rust-version: restore that line")
    return found.group(1)


def parse_version(text: str) -> Tuple[int, ...]:
    found = re.search(r"\d+(\.\d+)+", text)
    if not found:
        raise SetupError(f"no version in {text.strip()!r}")
    return tuple(int(part) for part in found.group(0).split("."))


def builtin_headers(compiler: str) -> str:
    """The folder of the compiler's own headers (stddef.h), which the packaged libclang
    lacks; gcc and clang answer the same question."""
    folder = _output(compiler.split() + ["-print-file-name=include"]).strip()
    if not (Path(folder) / "stddef.h").is_file():
        raise SetupError(f"{compiler} has no stddef.h of its own ({folder}): apt-get install g++")
    return folder


def usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
    except OSError as error:
        raise SetupError(f"cannot run {command[0]} ({error.strerror}): reinstall it") from error
    if done.returncode != 0:
        raise SetupError(f"`{' '.join(command)}` failed: {done.stderr.strip()[:500]}")
    return done.stdout
