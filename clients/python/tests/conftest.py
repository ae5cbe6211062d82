"""A server for all tests, and clients of it.

`GLEANER_BINARY` names the program to start (`bin/gleaner` of the repository otherwise);
`GLEANER_MODELS` the folder with its models.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any, AsyncIterator, Iterator, List, Optional

# Frameworks under test tell nobody that they are used; this comes before they are imported.
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
os.environ.pop("GLEANER_URL", None)
os.environ.pop("GLEANER_API_KEY", None)

import pytest

from gleaner_client import AsyncClient, Client

PROJECT = Path(__file__).resolve().parents[3]
#: Longest that a server may take to start.
STARTING = 60.0
ENCODER, RERANKER = "gleaner-minilm", "gleaner-reranker"


class Server:
    """A server of the tests' own."""

    #: More settings of the section `server`.
    settings = ""
    #: A certificate to go by.
    certificate: Optional[Path] = None

    def __init__(self, folder: Path, **environment: str) -> None:
        binary = os.environ.get("GLEANER_BINARY") or str(PROJECT / "bin" / "gleaner")
        self.folder = folder
        self.loads = folder / "loads"
        self.loads.mkdir(parents=True, exist_ok=True)
        config = folder / "config.toml"
        config.write_text(
            f'[server]\ntimeout_ms = 20000\n{self.settings}\n[ingest]\nsources = ["{self.loads}"]\n',
            encoding="utf-8",
        )
        self.command = [binary, "serve", "--config", str(config), "--data", str(folder / "data")]
        self.environment = {**os.environ, **environment}
        self.log = folder / "log"
        self.address = "127.0.0.1:0"
        self.process: Optional[subprocess.Popen[bytes]] = None
        self.start()

    def start(self) -> None:
        """Starts it, at the address that it had before."""
        begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [*self.command, "--listen", self.address],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=str(self.folder),
                env=self.environment,
            )
        until = time.monotonic() + STARTING
        while time.monotonic() < until and self.process.poll() is None:
            text = self.log.read_bytes()[begin:].decode(errors="replace")
            if "listening address=" in text:
                self.address = text.split("listening address=", 1)[1].split()[0]
                verify = str(self.certificate) if self.certificate else True
                with Client(self.url, retry=0, verify=verify) as client:
                    client.wait_until_ready(STARTING)
                return
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"the server did not start:\n{self.log.read_text(errors='replace')[-2000:]}")

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def stop(self) -> None:
        """Asks it to end."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(60)

    def kill(self) -> None:
        """Ends it at once."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server."""
    server = Server(tmp_path_factory.mktemp("gleaner"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def url(server: Server) -> str:
    return server.url


@pytest.fixture(scope="session")
def plain(url: str) -> Iterator[Client]:
    """A client that waits."""
    with Client(url) as client:
        yield client


@pytest.fixture(scope="session")
def models(plain: Client) -> List[str]:
    """The names of the models that the server has."""
    return [model["id"] for model in plain.models.list()]


@pytest.fixture
def encoder(models: List[str]) -> str:
    """The default encoder."""
    if ENCODER not in models:
        pytest.skip(f"the server has no {ENCODER}: run `make setup`")
    return ENCODER


@pytest.fixture
def reranker(models: List[str]) -> str:
    """The default reranker."""
    if RERANKER not in models:
        pytest.skip(f"the server has no {RERANKER}: run `make setup`")
    return RERANKER


class Waiting:
    """A client that waits, or a part of it, to be used as the other one is."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return Waiting(value) if type(value).__module__.startswith("gleaner_client._sync") else value

        def called(*arguments: Any, **named: Any) -> Any:
            if inspect.isgeneratorfunction(value):
                return _each(value(*arguments, **named))
            return _done(value, arguments, named)

        return called


async def _done(value: Any, arguments: Any, named: Any) -> Any:
    return value(*arguments, **named)


async def _each(values: Iterator[Any]) -> AsyncIterator[Any]:
    for value in values:
        yield value


@pytest.fixture(params=["sync", "async"])
async def client(request: pytest.FixtureRequest, url: str) -> AsyncIterator[AsyncClient]:
    """Both clients; tests are written once, for the one that is awaited."""
    if request.param == "sync":
        with Client(url) as waiting:
            yield Waiting(waiting)  # type: ignore[misc]
    else:
        async with AsyncClient(url) as client:
            yield client


@pytest.fixture
def name() -> str:
    """A name that nothing has."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def words(plain: Client, name: str) -> Iterator[str]:
    """An index that is searched by words alone."""
    plain.indexes.create(
        {
            "name": name,
            "fields": {
                "title": {"type": "text", "required": True},
                "section": {"type": "keyword"},
                "stars": {"type": "integer"},
                "published": {"type": "date"},
            },
        }
    )
    yield name
    plain.indexes.delete(name, missing_ok=True)


@pytest.fixture
def filled(plain: Client, words: str) -> str:
    """The same with documents."""
    plain.documents.bulk(
        words,
        [
            {"id": f"n{i}", "title": f"train number {i}", "section": "ab"[i % 2], "stars": i}
            for i in range(10)
        ],
        refresh=True,
    )
    return words


@pytest.fixture
def vectors(plain: Client, name: str) -> Iterator[str]:
    """An index whose documents bring vectors of their own."""
    name += "-vectors"
    plain.indexes.create(
        {
            "name": name,
            "fields": {"title": {"type": "text"}},
            "embedding": {"vector_field": "vector", "dimensions": 3},
        }
    )
    yield name
    plain.indexes.delete(name, missing_ok=True)


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
