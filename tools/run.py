#!/usr/bin/env python3
"""Loads the sample collection, serves it and asks it one question.

    run.py           load once, serve until Ctrl-C
    run.py --once    stop after the answer has been printed

GLEANER_DATA names the data folder (./data otherwise);
address and port come from the configuration.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import Any, Dict, List, Mapping, Optional, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import write_atomically  # noqa: E402
from console import SetupError, duration, fail, say  # noqa: E402

PROJECT = Path(__file__).resolve().parent.parent
PROGRAM = PROJECT / "bin" / "gleaner"
INDEX = "articles"
DEFINITION = PROJECT / "indexes" / "articles.toml"
SAMPLE = PROJECT / "sample" / "articles.parquet"
QUESTION = "why does the sea come in and go out twice a day"
HITS = 3
DEFAULT_LISTEN = "127.0.0.1:7700"
READY_SECONDS = 120


# The program


def installed(path: Path) -> Path:
    if not path.is_file():
        raise SetupError(f"{path} is not built: run `make build` first")
    return path


def gleaner(program: Path, arguments: List[str]) -> str:
    """Runs one command to its end and returns what it printed; its messages and
    progress go to the terminal."""
    done = subprocess.run(
        [str(program)] + arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, universal_newlines=True
    )
    if done.returncode != 0:
        raise SetupError(
            f"`gleaner {' '.join(arguments)}` ended with status {done.returncode}; its message is above"
        )
    return done.stdout


# The collection


def load_sample(program: Path, data: Path) -> None:
    """Creates and fills the index, unless an earlier run has finished doing so.

    The mark is written after the load, so an interrupted one is repeated; documents
    are replaced by id, which makes that harmless.
    """
    names = [index["name"] for index in json.loads(gleaner(program, ["index", "list", "--json"]))]
    mark, content = data / f".{INDEX}-loaded", hashlib.sha256(SAMPLE.read_bytes()).hexdigest()
    if INDEX in names and mark.is_file() and mark.read_text(encoding="utf-8").strip() == content:
        say("sample", f"index {INDEX} is loaded in {data}")
        return
    if INDEX not in names:
        gleaner(program, ["index", "create", str(DEFINITION)])
    started = time.monotonic()
    gleaner(program, ["ingest", INDEX, str(SAMPLE)])
    write_atomically(mark, content + "\n")
    say("sample", f"loaded {SAMPLE.name} into index {INDEX} in {duration(time.monotonic() - started)}")


# The server


def configured_address(environment: Mapping[str, str], folder: Path) -> str:
    """`server.listen`, as the program itself will read it."""
    if environment.get("GLEANER__SERVER__LISTEN"):
        return environment["GLEANER__SERVER__LISTEN"].strip("\"'")
    file = Path(environment.get("GLEANER_CONFIG") or folder / "config.toml")
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return DEFAULT_LISTEN
    section = re.search(r"^\[server\]\s*$(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    found = section and re.search(r"""^listen\s*=\s*["']([^"']+)["']""", section.group(1), re.MULTILINE)
    return found.group(1) if found else DEFAULT_LISTEN


def split_address(listen: str) -> Tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise SetupError(
            f"server.listen is {listen!r}: write it as address:port, for example {DEFAULT_LISTEN}"
        )
    return host.strip("[]"), int(port)


def require_free(listen: str) -> str:
    """The address to listen on, known to be free; a port of 0 becomes a free one."""
    host, port = split_address(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SetupError(
                f"cannot listen on {listen} ({error.strerror}): another program (an earlier `make run`?) may "
                "hold it; stop that one, or choose a port with GLEANER__SERVER__LISTEN=127.0.0.1:7701"
            ) from error
        port = probe.getsockname()[1]
    return f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"


def base_url(listen: str) -> str:
    host, port = split_address(listen)
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


# The server is on this machine: a proxy meant for the outside must not be asked.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def wait_until_ready(server: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        status = server.poll()
        if status is not None:
            raise SetupError(
                f"the server ended with status {status} before it was ready; its message is above"
            )
        try:
            with OPENER.open(url + "/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise SetupError(
        f"the server was not ready after {READY_SECONDS} s: its log above says what it waits for"
    )


def ask(url: str, question: str) -> Dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/v1/indexes/{INDEX}/search",
        data=json.dumps({"query": question, "k": HITS}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with OPENER.open(request, timeout=60) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        body = error.read().decode("utf-8", "replace")[:500]
        raise SetupError(f"the search was answered with {error.code}: {body}") from error
    except (OSError, ValueError) as error:
        raise SetupError(f"the search was not answered: {error}") from error


def in_words(question: str, answer: Mapping[str, Any]) -> str:
    """The answer, for people."""
    lines = ["", f"  {question}", ""]
    for place, hit in enumerate(answer.get("hits", []), start=1):
        document = hit.get("document", {})
        lines.append(f"  {place}. {document.get('title', hit.get('id'))}  ({hit.get('score', 0):.3f})")
        body = textwrap.shorten(str(document.get("body", "")), 160, placeholder=" ...")
        lines += textwrap.wrap(body, 78, initial_indent="     ", subsequent_indent="     ")
    for lost in answer.get("degraded", []):
        lines.append(f"  without {lost.get('lost')}: {lost.get('reason')}")
    took = answer.get("timings", {}).get("total_ms")
    searched = answer.get("total", {}).get("value")
    if took is not None and searched is not None:
        lines += ["", f"  {searched} documents searched in {took:.1f} ms"]
    return "\n".join(lines) + "\n"


def invitation(url: str, question: str) -> str:
    body = json.dumps({"query": question})
    return (
        f"  serving {url}; Ctrl-C stops it\n"
        f"  curl -s {url}/v1/indexes/{INDEX}/search -H 'Content-Type: application/json' -d '{body}'\n"
    )


def stop(server: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, which lets the server finish what it accepted; then waits."""
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def serve(program: Path, once: bool) -> int:
    listen = require_free(configured_address(os.environ, Path.cwd()))
    url = base_url(listen)
    server = subprocess.Popen([str(program), "serve", "--listen", listen], stdin=subprocess.DEVNULL)
    try:
        wait_until_ready(server, url)
        print(in_words(QUESTION, ask(url, QUESTION)), flush=True)
        if once:
            return 0
        print(invitation(url, QUESTION), flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        stop(server)


def interrupt(_signal: int, _frame: Optional[FrameType]) -> None:
    raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__.split("\n")[0])
    parser.add_argument("--once", action="store_true", help="stop after the answer has been printed")
    parser.add_argument("--program", type=Path, default=PROGRAM, help="the program to run [bin/gleaner]")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    try:
        data = Path(os.environ.setdefault("GLEANER_DATA", "data")).absolute()
        data.mkdir(parents=True, exist_ok=True)
        program = installed(options.program)
        # Before anything is opened: a server at work holds the data folder too.
        require_free(configured_address(os.environ, Path.cwd()))
        load_sample(program, data)
        sys.exit(serve(program, options.once))
    except SetupError as error:
        fail(error)
    except OSError as error:
        fail(SetupError(f"{error}: check the data folder (GLEANER_DATA)"))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
