"""Over TLS."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest
from conftest import Server, Waiting

from gleaner_client import AsyncClient, Client, ConnectionFailed


class Guarded(Server):
    """A server with a certificate."""

    def __init__(self, folder: Path) -> None:
        key, self.certificate = folder / "tls.key", folder / "tls.crt"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        command += ["-keyout", str(key), "-out", str(self.certificate)]
        subprocess.run(command, check=True, capture_output=True)
        self.settings = f'tls_certificate = "{self.certificate}"\ntls_key = "{key}"\n'
        super().__init__(folder)

    @property
    def url(self) -> str:
        return f"https://{self.address}"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, which makes the certificate")
    server = Guarded(tmp_path_factory.mktemp("tls"))
    yield server
    server.stop()


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_everything_is_encrypted(guarded: Guarded, kind: str) -> None:
    verify: Any = str(guarded.certificate)
    if kind == "async":
        verify = ssl.create_default_context(cafile=verify)
    client: Any = AsyncClient(guarded.url, verify=verify)
    if kind == "sync":
        client = Waiting(Client(guarded.url, verify=verify))
    index = f"notes-{kind}"
    await client.indexes.create({"name": index, "fields": {"title": {"type": "text"}}})

    def documents() -> Iterator[Dict[str, Any]]:
        return ({"id": str(n), "title": "x" * 1000} for n in range(5000))

    result = await client.bulk_stream(index, documents(), refresh=True)
    assert result.written == 5000
    assert (await client.indexes.get(index))["stats"]["documents"] == 5000


def test_a_stranger_is_not_trusted(guarded: Guarded) -> None:
    with Client(guarded.url, retry=0) as client, pytest.raises(ConnectionFailed, match=r"(?i)certificate"):
        client.health()
    with Client(guarded.url, verify=False) as client:
        assert client.health()["status"] == "ok"
