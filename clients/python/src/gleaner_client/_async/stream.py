"""Documents without end, in one request that is answered while it is sent."""

# Edit this file; its twin in `_sync` is written by scripts/generate.py.

from __future__ import annotations

import contextlib
from typing import Any, AsyncIterator, Dict, Optional

import httpcore

from .._bulk import Batch, Exchange, Ledger, ended_for_rejections, goes_on
from .._core import (
    NDJSON,
    MaybeAsyncIterable,
    aiterate,
    asleep,
    call,
    encode,
    failure_of,
    is_unsettled,
)
from ..errors import ConnectionFailed, GleanerError
from .transport import Transport

#: Seconds that are waited for what the server may have said.
GLANCE = 0.001
READ = 64 << 10


class DocumentStream:
    """The way of some documents into an index."""

    def __init__(
        self,
        transport: Transport,
        index: str,
        documents: MaybeAsyncIterable[Any],
        params: Dict[str, Any],
        ledger: Ledger,
    ) -> None:
        self.transport = transport
        self.index = index
        self.params = params
        self.ledger = ledger
        self.fresh = aiterate(documents)

    async def run(self) -> None:
        """Sends them all, again where that helps."""
        if self.transport.is_direct and await self.is_answered():
            await self.stream()
        else:
            await self.batches()

    async def is_answered(self) -> bool:
        """Whether the server knows streams; older ones do not."""
        if self.transport.streams is None:
            nothing = call(
                "writeDocuments",
                self.index,
                content=b"",
                content_type=NDJSON,
                headers={"accept": NDJSON},
                keyed=False,
                parse=lambda answer: isinstance(answer, bytes),
            )
            self.transport.streams = await self.transport.send(nothing)
        return bool(self.transport.streams)

    async def lines(self) -> AsyncIterator[bytes]:
        """What the request has to send: first what was sent before and may not be written."""
        while True:
            line = self.ledger.repeated()
            if line is None:
                break
            yield line
        async for document in self.fresh:
            line = encode(document) + b"\n"
            self.ledger.add(line)
            yield line

    async def stream(self) -> None:
        retry = self.transport.retry
        attempt = 0
        while True:
            done = self.ledger.done
            self.ledger.begin()
            error = await self.exchange()
            self.ledger.check()
            if error is None:
                return
            if ended_for_rejections(error, self.ledger):
                attempt = 0
                continue
            attempt = 1 if self.ledger.done > done else attempt + 1
            if not goes_on(error) or attempt >= retry.attempts:
                raise self.ledger.raised(error) from error
            await asleep(retry.pause(attempt, error))

    async def exchange(self) -> Optional[GleanerError]:
        """One request; what ended it before all was taken."""
        url = self.transport.url
        asked = call("writeDocuments", self.index, params=self.params)
        exchange = Exchange(url, asked.path, self.transport.headers({}), self.ledger)
        try:
            stream = await self.connect()
        except (httpcore.NetworkError, httpcore.TimeoutException) as error:
            return failure_of(error)
        try:
            await self.converse(stream, exchange)
        except (httpcore.NetworkError, httpcore.TimeoutException) as error:
            return exchange.error or failure_of(error)
        except ConnectionError as error:
            return exchange.error or ConnectionFailed(str(error))
        finally:
            await stream.aclose()
        return exchange.error

    async def connect(self) -> httpcore.AsyncNetworkStream:
        url, timeout = self.transport.url, self.transport.timeout
        backend: httpcore.AsyncNetworkBackend = httpcore.AnyIOBackend()
        stream = await backend.connect_tcp(url.host, url.port, timeout=timeout.connect)
        if self.transport.context is not None:
            stream = await stream.start_tls(self.transport.context, url.host, timeout.connect)
        return stream

    async def converse(self, stream: httpcore.AsyncNetworkStream, exchange: Exchange) -> None:
        timeout = self.transport.timeout
        with contextlib.suppress(httpcore.WriteError):
            # Where the server has hung up, its last words are still to be read.
            await stream.write(exchange.head(), timeout.write)
            async for line in self.lines():
                piece = exchange.put(line)
                if piece is None:
                    continue
                await stream.write(piece, timeout.write)
                if exchange.is_time_to_look():
                    await self.listen(stream, exchange, GLANCE)
                while self.ledger.is_full and not exchange.ended and exchange.error is None:
                    await self.send_rest(stream, exchange)
                    await self.listen(stream, exchange, timeout.read)
                self.ledger.check()
                if exchange.ended or exchange.error is not None:
                    return
            await stream.write(exchange.tail(), timeout.write)
        while not exchange.ended:
            await self.listen(stream, exchange, timeout.read)

    async def send_rest(self, stream: httpcore.AsyncNetworkStream, exchange: Exchange) -> None:
        piece = exchange.flush()
        if piece:
            await stream.write(piece, self.transport.timeout.write)

    async def listen(
        self, stream: httpcore.AsyncNetworkStream, exchange: Exchange, wait: Optional[float]
    ) -> None:
        """Takes what the server has said by then."""
        try:
            data = await stream.read(READ, wait)
        except httpcore.ReadTimeout:
            if wait == GLANCE:
                return
            raise
        exchange.receive(data)

    async def batches(self) -> None:
        """The same in requests of some documents each, for servers and ways that know no streams."""
        self.ledger.mark()
        batch = Batch()
        async for line in self.lines():
            if not batch.has_room(line):
                await self.send_batch(batch.take())
            batch.add(line)
        if batch.lines:
            await self.send_batch(batch.take())

    async def send_batch(self, content: bytes) -> None:
        asked = call(
            "writeDocuments",
            self.index,
            content=content,
            content_type=NDJSON,
            params=self.params,
        )
        try:
            answer = await self.transport.send(asked, again=is_unsettled)
        except GleanerError as error:
            raise self.ledger.raised(error) from error
        self.ledger.take_answer(answer)
        self.ledger.mark()
        self.ledger.check()
