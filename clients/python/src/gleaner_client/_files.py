"""Files that appear under their name when they are whole."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import BinaryIO, Optional, Union
from urllib.request import getproxies, proxy_bypass

import httpx

PathLike = Union[str, "os.PathLike[str]"]


class Sink:
    """Where an export goes: a file of this name, or one that is open."""

    def __init__(self, to: Union[PathLike, BinaryIO]) -> None:
        self.bytes = 0
        self.path: Optional[Path] = None
        self.part: Optional[Path] = None
        if isinstance(to, (str, os.PathLike)):
            self.path = Path(to)
            self.part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
            self.file: BinaryIO = self.part.open("wb")
        else:
            self.file = to

    def write(self, data: bytes) -> None:
        """Takes a part."""
        self.file.write(data)
        self.bytes += len(data)

    def close(self, whole: bool) -> None:
        """The end; the file is kept if it is whole."""
        if self.part is None or self.path is None:
            return
        self.file.close()
        if whole:
            self.part.replace(self.path)
        else:
            self.part.unlink()


Verify = Union[bool, str, ssl.SSLContext]
Certificate = Union[str, "tuple[str, str]", "tuple[str, str, str]"]


def context_of(verify: Verify, cert: Optional[Certificate]) -> ssl.SSLContext:
    """How servers are to prove who they are, and how this client does: `verify` is whether they have
    to, or the file or folder with the certificates to go by; `cert` is a file with certificate and key,
    or both files and perhaps the key's password."""
    if isinstance(verify, ssl.SSLContext):
        context = verify
    elif isinstance(verify, str):
        folder = os.path.isdir(verify)
        context = ssl.create_default_context(
            cafile=None if folder else verify, capath=verify if folder else None
        )
    else:
        context = httpx.create_ssl_context(verify=verify)
    if isinstance(cert, str):
        context.load_cert_chain(cert)
    elif cert is not None:
        context.load_cert_chain(*cert)
    return context


def is_behind_proxy(host: str, tls: bool) -> bool:
    """Whether the environment names a proxy on the way there."""
    proxies = getproxies()
    named = proxies.get("https" if tls else "http") or proxies.get("all")
    return bool(named) and not proxy_bypass(host)
