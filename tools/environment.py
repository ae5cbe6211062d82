"""Python environments with pinned packages, kept in the cache folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from cache import require_space
from console import SetupError, say


def ensure_environment(who: str, folder: Path, requirements: Path, space: int = 0) -> Path:
    """The Python in `folder` that has the packages that `requirements` pins; made anew when the
    pins or this Python change. `who` asks for it, in what is printed; `space` is what the packages
    take, in bytes. Raises SetupError where they cannot be installed."""
    python = folder / "bin" / "python"
    stamp = folder / "requirements.txt"
    wanted = requirements.read_text(encoding="utf-8") + sys.version
    if python.exists() and stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    if space:
        require_space(folder.parent, space, f"installing {requirements.name}")
    say(who, f"installing into {folder}")
    if folder.exists():
        shutil.rmtree(folder)
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", str(requirements)]
    for command in ([sys.executable, "-m", "venv", str(folder)], [str(python), *pip]):
        if subprocess.run(command, stdin=subprocess.DEVNULL).returncode != 0:
            raise SetupError(f"`{' '.join(command)}` failed; its message is above")
    stamp.write_text(wanted, encoding="utf-8")
    return python
