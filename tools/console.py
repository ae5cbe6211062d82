"""What set-up says to people: one line per step, one sentence per failure."""

from __future__ import annotations

import sys
from typing import NoReturn


class SetupError(Exception):
    """A step that cannot go on. The message says what happened and what to do."""


def say(step: str, message: str) -> None:
    """One line for one step, on standard output, at once."""
    # In one piece: several may say something at once.
    print(f"{step:<17} {message}\n", end="", flush=True)


def fail(error: Exception) -> NoReturn:
    """Reports the failure and ends the process with status 1."""
    sys.stdout.flush()
    print(f"set-up stopped: {error}", file=sys.stderr, flush=True)
    sys.exit(1)


def megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB"


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
