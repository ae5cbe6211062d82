"""What a stream of documents is made of, apart from how it travels."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterator, List, Mapping, Optional

import h11

from ._core import AGENT, NDJSON, BaseUrl, error_in, may_repeat
from .errors import ApiError, BulkError, GleanerError, LimitExceededError, UnexpectedAnswer, error_of
from .results import BulkProgress, BulkResult, Rejection

#: Bytes that are sent at once.
PIECE = 64 << 10
#: Seconds after which less than that is sent.
LINGER = 0.1
#: Seconds between looks at what the server has to say.
LOOK = 0.1
#: Bytes of documents that are kept until it is known that they are written.
WINDOW = 32 << 20
#: Documents, and bytes, of a request where the server knows no streams.
BATCH, BATCH_BYTES = 1000, 8 << 20

Progress = Callable[[BulkProgress], None]


class Ledger:
    """Which documents were sent, and what became of them."""

    def __init__(self, progress: Optional[Progress], max_rejected: Optional[int], keep: int) -> None:
        self.progress = progress
        self.max_rejected = max_rejected
        self.keep = keep
        self.done = self.written = self.rejected = 0
        self.rejections: List[Rejection] = []
        #: Sent, and not known to be written; the first of them is document number `done`.
        self.kept: Deque[bytes] = deque()
        self.kept_bytes = 0
        #: What was known when the request that is under way began.
        self.start = self.start_written = self.start_rejected = 0
        #: Of `kept`, what this request has not sent yet.
        self.again: Iterator[bytes] = iter(())
        self.again_left = 0

    def begin(self) -> None:
        """A request begins, with what is not known to be written."""
        self.mark()
        self.again, self.again_left = iter(tuple(self.kept)), len(self.kept)

    def mark(self) -> None:
        """What is told from now on counts from here."""
        self.start, self.start_written, self.start_rejected = self.done, self.written, self.rejected

    def repeated(self) -> Optional[bytes]:
        """The next document that was sent before."""
        line = next(self.again, None)
        if line is not None:
            self.again_left -= 1
        return line

    def add(self, line: bytes) -> None:
        """A document is about to be sent for the first time."""
        self.kept.append(line)
        self.kept_bytes += len(line)

    @property
    def is_full(self) -> bool:
        """Whether to wait until more is known to be written."""
        return self.kept_bytes > WINDOW and self.again_left == 0

    def reject(self, item: int, id: Optional[str], error: ApiError) -> None:
        """Document `item` of the request was refused."""
        if len(self.rejections) < self.keep:
            self.rejections.append(Rejection(self.start + item, id, error))

    def settle(self, done: int, written: int, rejected: int) -> None:
        """The fate of so many documents of the request is known."""
        for _ in range(min(self.start + done - self.done, len(self.kept))):
            self.kept_bytes -= len(self.kept.popleft())
        self.done = self.start + done
        self.written = self.start_written + written
        self.rejected = self.start_rejected + rejected
        if self.progress is not None:
            sent = self.done + len(self.kept) - self.again_left
            self.progress(BulkProgress(sent, self.done, self.written, self.rejected))

    def check(self) -> None:
        """Raises where more were refused than may be."""
        if self.max_rejected is not None and self.rejected > self.max_rejected:
            first = self.rejections[0].error if self.rejections else None
            error = LimitExceededError(
                f"{self.rejected} documents were rejected, and at most {self.max_rejected} may be"
                + (f"; the first: {first}" if first else ""),
                code="too_many_rejects",
            )
            raise self.failed(error)

    def failed(self, error: GleanerError) -> BulkError:
        """What is raised where this error is the end."""
        return BulkError(
            "the load was not finished",
            done=self.done,
            written=self.written,
            rejected=self.rejected,
            error=error,
        )

    def raised(self, error: GleanerError) -> GleanerError:
        """The same; the error itself where the first request was refused as a whole."""
        if self.done == 0 and isinstance(error, ApiError) and error.status is not None:
            return error
        return self.failed(error)

    def result(self) -> BulkResult:
        """What became of all."""
        return BulkResult(self.written, self.rejected, self.rejections)

    def take_answer(self, answer: Mapping[str, Any]) -> None:
        """What a request without a stream was answered, for all of its documents."""
        done = written = rejected = 0
        for item, told in enumerate(answer["items"]):
            if told["status"] == "rejected":
                self.reject(item, told.get("id"), error_of(told.get("error") or {}))
                rejected += 1
            else:
                written += 1
            done += 1
        self.settle(done, written, rejected)


def goes_on(error: Optional[GleanerError]) -> bool:
    """Whether the rest is sent again after this."""
    if isinstance(error, ApiError) and error.code == "timeout":
        return True
    return may_repeat(error, repeatable=True)


def ended_for_rejections(error: Optional[GleanerError], ledger: Ledger) -> bool:
    """Whether the server read no further because so many documents were refused."""
    return (
        isinstance(error, ApiError)
        and error.code == "limit_exceeded"
        and error.status is None
        and ledger.rejected > ledger.start_rejected
    )


class Exchange:
    """One request with a stream, as bytes that come and go."""

    def __init__(self, url: BaseUrl, path: str, headers: Mapping[str, str], ledger: Ledger) -> None:
        self.ledger = ledger
        self.connection = h11.Connection(h11.CLIENT)
        sent = {
            "host": url.authority,
            "user-agent": AGENT,
            **{name.lower(): value for name, value in headers.items()},
            "accept": NDJSON,
            "content-type": NDJSON,
            "transfer-encoding": "chunked",
            "connection": "close",
        }
        self.request = h11.Request(method="POST", target=url.prefix + path, headers=list(sent.items()))
        self.status: Optional[int] = None
        self.headers: Dict[str, str] = {}
        self.body = b""
        self.ended = False
        #: Whether all was taken.
        self.finished = False
        #: What ended it before.
        self.error: Optional[GleanerError] = None
        self.sent_at = self.looked_at = time.monotonic() - LINGER
        self.piece: List[bytes] = []
        self.piece_bytes = 0

    def head(self) -> bytes:
        """The first bytes to send."""
        return self.connection.send(self.request) or b""

    def put(self, line: bytes) -> Optional[bytes]:
        """Takes a document; what is to be sent now, if anything is."""
        self.piece.append(line)
        self.piece_bytes += len(line)
        if self.piece_bytes < PIECE and time.monotonic() - self.sent_at < LINGER:
            return None
        return self.flush()

    def flush(self) -> bytes:
        """What was not sent yet."""
        data = b"".join(self.piece)
        self.piece, self.piece_bytes, self.sent_at = [], 0, time.monotonic()
        return (self.connection.send(h11.Data(data=data)) or b"") if data else b""

    def tail(self) -> bytes:
        """The last bytes to send."""
        return self.flush() + (self.connection.send(h11.EndOfMessage()) or b"")

    def is_time_to_look(self) -> bool:
        """Whether the server is to be listened to."""
        now = time.monotonic()
        if now - self.looked_at < LOOK:
            return False
        self.looked_at = now
        return True

    def receive(self, data: bytes) -> None:
        """Takes what came; nothing is the end of the connection."""
        try:
            self.connection.receive_data(data)
            while not self.ended:
                event = self.connection.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                if isinstance(event, h11.Response):
                    self.status = event.status_code
                    self.headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
                elif isinstance(event, h11.Data):
                    self.body += bytes(event.data)
                    self.read_lines(last=False)
                elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                    self.end()
        except h11.RemoteProtocolError as error:
            raise ConnectionError(f"the answer broke off: {error}") from error

    @property
    def is_stream(self) -> bool:
        return self.status == 200 and "ndjson" in self.headers.get("content-type", "")

    def end(self) -> None:
        self.ended = True
        if self.status is None:
            raise ConnectionError("the connection was closed without an answer")
        if self.is_stream:
            self.read_lines(last=True)
            if not self.finished and self.error is None:
                raise ConnectionError("the answer broke off")
        elif self.status not in (200, 207):
            self.error = error_in(self.status, self.headers, self.body)
        else:
            try:
                self.ledger.take_answer(json.loads(self.body))
                self.finished = True
            except (ValueError, KeyError, TypeError):
                self.error = UnexpectedAnswer(f"status {self.status}: {self.body[:200]!r}")

    def read_lines(self, last: bool) -> None:
        if not self.is_stream:
            return
        *lines, self.body = self.body.split(b"\n")
        if last:
            lines.append(self.body)
            self.body = b""
        for line in lines:
            if line.strip():
                self.read_line(line)

    def read_line(self, line: bytes) -> None:
        try:
            told = json.loads(line)
            if "item" in told:
                self.ledger.reject(told["item"], told.get("id"), error_of(told["error"]))
                return
            self.ledger.settle(told["done"], told["written"], told["rejected"])
            self.finished = bool(told.get("finished"))
            if told.get("error"):
                self.error = error_of(told["error"], request_id=self.headers.get("x-request-id"))
        except (ValueError, KeyError, TypeError) as error:
            raise ConnectionError(f"the answer has a line that is none of its own: {line[:200]!r}") from error


class Batch:
    """Lines that are gathered for a request."""

    def __init__(self) -> None:
        self.lines: List[bytes] = []
        self.size = 0

    def has_room(self, line: bytes) -> bool:
        """Whether this one fits as well."""
        return not self.lines or (len(self.lines) < BATCH and self.size + len(line) <= BATCH_BYTES)

    def add(self, line: bytes) -> None:
        """Takes it."""
        self.lines.append(line)
        self.size += len(line)

    def take(self) -> bytes:
        """All of them; it is empty then."""
        content = b"".join(self.lines)
        self.lines, self.size = [], 0
        return content
