#!/usr/bin/env python3
"""The commands of the documentation, run: what `make check-docs` runs.

    check_docs.py [--binary B] [--page PAGE...] [--keep DIR]

Runs each block of shell (```sh) of README.md, CONTRIBUTING.md and docs/*.md, in the order of the
page, with `bash -euo pipefail -c`. A block that ends with another status than 0 is a failure. What a
page shows as its output is not compared: times, scores and ids differ. Writes reports/docs.json.

Each page has a folder of its own in which all its blocks run, so that the later ones find what the
earlier ones made: a copy of what its blocks name of the repository, a `config.toml`, a data folder,
and a home whose `.cache/gleaner` has the models, so that nothing of the user's is touched.

Page and program agree on `localhost:7700`; here it is a free port, put in its place in each block. A
block that names it is asked of a server and gets one, started before it where none runs. Before any
other block the server is stopped, because a command on an index is refused while a server has it
open: that is what a reader does too. A page whose block mixes both has to be one that the program
allows. `gleaner serve` in a block starts that server and comes back once it is ready. `curl` fails
where it is answered with an error (~/.curlrc), as it does not for readers.

Comments on the lines before a fence say what readers do not have to read:

    <!-- not run: REASON -->          the block cannot be run here
    <!-- first: COMMANDS -->          runs these before; what the page takes for granted
    <!-- instead of TEXT: COMMAND -->  TEXT, an id that only this run knows, becomes what COMMAND prints
    <!-- fails: REASON -->            the block shows an error: it has to end with a status other than 0
    <!-- file: NAME -->               before any fence: what it shows is written to the file NAME
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import cache_folder  # noqa: E402
from console import SetupError, duration, fail  # noqa: E402
from setup import PROJECT  # noqa: E402

REPORT = PROJECT / "reports" / "docs.json"
#: What there is for blocks that name its first folder. Of the code, a part that hardly takes time to encode.
COPIED = ["sample", "indexes", "examples", "models", "docs", "src/rerank"]
#: Models that no page asks for, and that are larger than the others together.
LEFT_OUT = ["gleaner-generator"]
#: Where pages say that the server is.
ADDRESS = re.compile(r"(?:localhost|127\.0\.0\.1):7700\b")
#: Longest that a block may take, and a server to be ready, in seconds.
PATIENCE = 600.0
STARTING = 120.0
NOTE = re.compile(r"(not run|first|fails|file|instead of (?P<text>[^:\s]+)):\s*(?P<rest>.+)", re.DOTALL)
#: `gleaner` of the page's folder: `serve` goes on behind, all else is the program.
PROGRAM = """#!/usr/bin/env bash
if [ "${{1:-}}" != serve ]; then exec {binary} "$@"; fi
{binary} "$@" < /dev/null > {folder}/server.log 2>&1 &
echo $! > {folder}/server.pid
for _ in $(seq {tries}); do
    curl --disable --silent --fail --max-time 5 --output /dev/null http://{address}/ready && exit 0
    kill -0 $! 2> /dev/null || break
    sleep 0.2
done
tail -n 20 {folder}/server.log >&2
echo "the server did not become ready" >&2
exit 1
"""


class Note(NamedTuple):
    """A comment before a block. `text` is what it is `instead of`."""

    kind: str
    text: str
    rest: str


class Block(NamedTuple):
    """A block of shell, or one that is to become a file."""

    #: Of the fence, from 1.
    line: int
    code: str
    notes: List[Note]
    is_shell: bool

    def note(self, kind: str) -> Optional[str]:
        return next((note.rest for note in self.notes if note.kind == kind), None)


class Failure(NamedTuple):
    line: int
    code: str
    what: str


# The pages


def understood(comment: str, where: str) -> Note:
    found = NOTE.fullmatch(comment)
    if not found:
        raise SetupError(f"{where}: this comment says nothing to the check: {comment!r}")
    kind = "instead of" if found["text"] else found[1]
    return Note(kind, found["text"] or "", found["rest"].strip())


def blocks_of(page: Path, name: str) -> List[Block]:
    """The blocks of shell of a page and those that become files, with the comments right before them."""
    found: List[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    comments: List[str] = []
    n = 0
    while n < len(lines):
        fence = re.match(r"(\s*)(`{3,}|~{3,})\s*(\w*)", lines[n])
        if fence:
            start, n = n, n + 1
            while n < len(lines) and not re.fullmatch(rf"\s*{re.escape(fence[2])}{fence[2][0]}*\s*", lines[n]):
                n += 1
            is_shell = fence[3] in ("sh", "bash", "shell")
            if is_shell or any(comment.startswith("file:") for comment in comments):
                indent = len(fence[1])
                code = "\n".join(line[indent:] if line[:indent].isspace() else line for line in lines[start + 1 : n])
                notes = [understood(comment, f"{name}:{start + 1}") for comment in comments]
                found.append(Block(start + 1, code, notes, is_shell))
            comments = []
        elif lines[n].lstrip().startswith("<!--"):
            start = n
            while n < len(lines) and "-->" not in lines[n]:
                n += 1
            text = "\n".join(lines[start : n + 1]).strip()
            comments.append(text[len("<!--") :].split("-->")[0].strip())
        else:
            comments = []
        n += 1
    return found


def pages_of(named: List[str]) -> List[str]:
    every = ["README.md", "CONTRIBUTING.md"]
    every += sorted(str(page.relative_to(PROJECT)) for page in (PROJECT / "docs").glob("*.md"))
    for name in named:
        if name not in every:
            raise SetupError(f"there is no page {name}; a page is README.md, CONTRIBUTING.md or one of docs/*.md")
    return [name for name in every if not named or name in named]


# Running


class Scratch:
    """The folder of a page, and what runs in it. `text` is all that the page's blocks say."""

    def __init__(self, folder: Path, binary: Path, text: str) -> None:
        self.folder = folder
        self.groups: List[int] = []
        # A port that was free a moment ago; whoever is quicker makes the start fail, loudly.
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        for name in COPIED:
            if re.search(rf"""(?<![\w/.-]){name.split("/")[0]}[/\s]""", text):
                shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        self.bin = folder / ".bin"
        self.bin.mkdir()
        home = folder / ".home"
        cache = home / ".cache" / "gleaner"
        there = cache_folder(os.environ)
        shutil.copytree(there / "models", cache / "models", ignore=shutil.ignore_patterns(*LEFT_OUT))
        (cache / "sources").symlink_to(there / "sources")
        (home / ".curlrc").write_text("fail-with-body\nno-progress-meter\n", encoding="utf-8")
        # Small batches: a load that a page halts stops behind the one that is being written.
        ingest = f'[ingest]\nsources = ["{folder}"]\nbatch_documents = 16\n'
        config = f'[server]\nlisten = "{self.address}"\n\n{ingest}'
        (folder / "config.toml").write_text(config, encoding="utf-8")
        program = self.bin / "gleaner"
        tries = int(STARTING / 0.2)
        values = {"binary": shlex.quote(str(binary)), "folder": self.bin, "address": self.address, "tries": tries}
        program.write_text(PROGRAM.format(**values), encoding="utf-8")
        program.chmod(0o755)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GLEANER_")},
            "PATH": f"{self.bin}{os.pathsep}{os.environ.get('PATH', '')}",
            "HOME": str(home),
            "GLEANER_CACHE": str(cache),
            "GLEANER_MODELS": str(cache / "models"),
            "GLEANER_DATA": str(folder / "data"),
            # What the examples ask where nothing else is said.
            "GLEANER_URL": f"http://{self.address}",
            "NO_PROXY": "localhost,127.0.0.1",
        }
        for name in ("CURL_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            self.environment.pop(name, None)

    def server(self) -> Optional[int]:
        """The server's process, where it runs."""
        try:
            process = int((self.bin / "server.pid").read_text(encoding="utf-8"))
            state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            return None
        # One that has ended stays until its parent asks for its status.
        return None if state in "ZX" else process

    def stop_server(self) -> None:
        process = self.server()
        if process is None:
            return
        os.kill(process, signal.SIGTERM)
        until = time.monotonic() + 60
        while self.server() is not None:
            if time.monotonic() > until:
                os.kill(process, signal.SIGKILL)
            time.sleep(0.05)

    def run(self, code: str) -> Tuple[int, str, str]:
        """Status, output and messages of a script, with the server up where it asks one, and down elsewhere."""
        asks = ADDRESS.search(code) is not None
        if not asks:
            self.stop_server()
        elif self.server() is None:
            started = self.bash("gleaner serve")
            if started[0] != 0:
                return started
        code = ADDRESS.sub(self.address, code)
        # It is behind already.
        return self.bash(re.sub(r"^(\s*gleaner serve[^&\n]*)&\s*$", r"\1", code, flags=re.MULTILINE))

    def bash(self, code: str) -> Tuple[int, str, str]:
        # Files, because what a script leaves running holds a pipe open.
        out, err = self.bin / "stdout", self.bin / "stderr"
        with out.open("wb") as output, err.open("wb") as errors:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=str(self.folder),
                env=self.environment,
                start_new_session=True,
            )
            self.groups.append(process.pid)
            late = ""
            try:
                status = process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                status, late = process.wait(), f"\nit took longer than {PATIENCE:.0f} s"
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in (out, err)]
        return status, texts[0], texts[1] + late

    def close(self) -> None:
        self.stop_server()
        for group in self.groups:
            try:
                os.killpg(group, signal.SIGKILL)
            except OSError:
                pass


def run_block(scratch: Scratch, block: Block) -> Optional[str]:
    """What is wrong, or None."""
    name = block.note("file")
    if name is not None:
        (scratch.folder / name).write_text(block.code + "\n", encoding="utf-8")
        return None
    code = block.code
    instead: Dict[str, str] = {}
    for note in block.notes:
        if note.kind not in ("first", "instead of"):
            continue
        status, output, errors = scratch.run(note.rest)
        if status != 0 or (note.text and not output.strip()):
            return f"`{note.rest}`, which comes before, ended with {status}:\n{output[-1000:]}{errors[-2000:]}"
        if note.text:
            if note.text not in code:
                return f"`{note.text}` is not in the block"
            instead[note.text] = output.strip()
    # The longest first, because an id may be said in full and by its beginning.
    for text in sorted(instead, key=len, reverse=True):
        code = code.replace(text, instead[text])
    status, output, errors = scratch.run(code)
    if block.note("fails") is not None:
        return None if status != 0 else f"it should fail and does not:\n{output[-2000:]}"
    return None if status == 0 else f"ended with {status}:\n{output[-2000:]}{errors[-4000:]}"


def run_page(name: str, binary: Path, keep: Optional[Path]) -> Dict[str, object]:
    """Runs a page and says how it went."""
    steps = blocks_of(PROJECT / name, name)
    blocks = [block for block in steps if block.is_shell]
    not_run = [(block.line, block.note("not run") or "") for block in blocks if block.note("not run")]
    failures: List[Failure] = []
    started = time.monotonic()
    if len(not_run) < len(blocks):
        folder = Path(tempfile.mkdtemp(prefix="gleaner-docs-")) if keep is None else keep / Path(name).stem
        if keep is not None and folder.exists():
            raise SetupError(f"{folder} is there already: name another folder, or remove it")
        folder.mkdir(parents=True, exist_ok=True)
        text = "\n".join([part for block in steps for part in (block.code, *(note.rest for note in block.notes))])
        scratch = Scratch(folder.resolve(), binary, text)
        try:
            for block in steps:
                if block.note("not run"):
                    continue
                wrong = run_block(scratch, block)
                if wrong is not None:
                    failures.append(Failure(block.line, block.code, wrong))
        finally:
            scratch.close()
            if keep is None:
                shutil.rmtree(folder, ignore_errors=True)
    seconds = time.monotonic() - started
    if blocks:
        reasons = "; ".join(dict.fromkeys(reason for _, reason in not_run))
        skipped = f", {len(not_run)} not run ({reasons})" if not_run else ""
        failed = f", {len(failures)} FAILED" if failures else ""
        count = f"{len(blocks)} block{'' if len(blocks) == 1 else 's'}"
        print(f"{name}: {count}, {len(blocks) - len(not_run)} run{skipped}{failed}, {duration(seconds)}", flush=True)
    for failure in failures:
        indented = "\n".join(f"    {line}" for line in f"{failure.code}\n{failure.what}".splitlines())
        print(f"  {name}:{failure.line}\n{indented}", flush=True)
    return {
        "page": name,
        "blocks": len(blocks),
        "run": len(blocks) - len(not_run),
        "not_run": [{"line": line, "reason": reason} for line, reason in not_run],
        "failed": [failure._asdict() for failure in failures],
        "seconds": round(seconds, 1),
    }


def run(binary: Path, named: List[str], keep: Optional[Path]) -> bool:
    """Whether every block that is run is well."""
    if not binary.is_file():
        raise SetupError(f"{binary} is not built: run `make build` first")
    pages = [run_page(name, binary, keep) for name in pages_of(named)]
    pages = [page for page in pages if page["blocks"]]

    def count(key: str) -> int:
        values = [page[key] for page in pages]
        return sum(len(value) if isinstance(value, list) else int(str(value)) for value in values)

    summary = {"blocks": count("blocks"), "run": count("run"), "not_run": count("not_run"), "failed": count("failed")}
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps({**summary, "pages": pages}, indent=1) + "\n", encoding="utf-8")
    failed = f", {summary['failed']} FAILED" if summary["failed"] else ""
    print(f"{summary['blocks']} blocks: {summary['run']} run, {summary['not_run']} not run{failed}")
    return not summary["failed"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="check_docs.py", description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, default=PROJECT / "bin" / "gleaner", help="the program")
    parser.add_argument("--page", nargs="*", default=[], help="pages, as docs/rest.md; all otherwise")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the folders of the pages there")
    options = parser.parse_args()
    try:
        sys.exit(0 if run(options.binary.absolute(), options.page, options.keep) else 1)
    except SetupError as error:
        fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
