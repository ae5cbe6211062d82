"""Requests and answers, apart from how they travel: what both clients share."""

from __future__ import annotations

import base64
import datetime
import json
import sys
import time
from array import array
from dataclasses import dataclass, field
from typing import (
    Any,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generic,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    TypeVar,
    Union,
)
from urllib.parse import quote, urlencode
from uuid import uuid4

import anyio
import httpcore
import httpx
from tenacity import RetryCallState, stop_after_attempt, stop_after_delay
from tenacity.stop import stop_base

from ._operations import OPERATIONS
from ._version import __version__
from .errors import ApiError, ConnectionFailed, GleanerError, TimedOut, UnexpectedAnswer, error_of

T = TypeVar("T")
Answer = TypeVar("Answer")
PlainIterable = Iterable[T]
MaybeAsyncIterable = Union[Iterable[T], AsyncIterable[T]]

JSON = "application/json"
NDJSON = "application/x-ndjson"
AGENT = f"gleaner-client/{__version__} python/{sys.version_info[0]}.{sys.version_info[1]}"

#: Operations that change nothing, or come to the same when they are done twice, though their method
#: does not say so.
REPEATABLE = {
    "changeAliases",
    "disambiguateMention",
    "embed",
    "findValues",
    "importSchema",
    "linkEntities",
    "refreshIndex",
    "rerank",
    "retrieveEntities",
    "retrieveSchema",
    "search",
    "similarExamples",
    "annotateExamples",
    "whichSchema",
}
#: Documents that were rejected for these are not at fault; the same request writes them.
UNSETTLED = {"timeout", "overloaded"}


def _plain(value: Any) -> Any:
    """What JSON has no word for: dates, and the numbers and lists of numpy."""
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is nothing that JSON can say")


def encode(value: Any) -> bytes:
    """As JSON, on one line."""
    text = json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


def encode_lines(values: Iterable[Any]) -> bytes:
    """As JSON, one a line."""
    return b"".join(encode(value) + b"\n" for value in values)


def given(**members: Any) -> dict[str, Any]:
    """The members that are something."""
    return {name: value for name, value in members.items() if value is not None}


@dataclass(frozen=True)
class Retry:
    """When and how often a request is sent again.

    Sent again are requests that were not taken up (no connection; too busy: 429, or 503), and those
    whose fate is not known (a connection that broke, no answer in time, 504) where that does no harm:
    they read, or carry an idempotency key. Waits grow from `first_wait` to `longest_wait` seconds, of
    which a part by chance is waited; a longer time that the server asks for is granted up to
    `longest_wait`.
    """

    attempts: int = 5
    first_wait: float = 0.2
    longest_wait: float = 10.0
    #: After so many seconds in all, nothing is sent again.
    total: Optional[float] = 120.0

    def settings(self, call: Call[Any]) -> dict[str, Any]:
        """What tenacity is to do."""
        stop: stop_base = stop_after_attempt(max(1, self.attempts))
        if self.total is not None:
            stop = stop | stop_after_delay(self.total)
        return {
            "stop": stop,
            "wait": self.wait,
            "retry": lambda state: may_repeat(outcome(state), call.repeatable),
            "reraise": True,
        }

    def wait(self, state: RetryCallState) -> float:
        """Seconds until the next attempt."""
        return self.pause(state.attempt_number, outcome(state))

    def pause(self, attempt: int, error: Optional[BaseException]) -> float:
        """Seconds to wait after so many attempts, the last of which ended with this error."""
        longest = min(self.longest_wait, self.first_wait * 2.0 ** min(attempt - 1, 20))
        # Between a half and all of it: callers who failed together do not come again together.
        wait = longest * (0.5 + 0.5 * _chance())
        asked = getattr(error, "retry_after", None)
        return max(wait, min(asked, self.longest_wait)) if asked is not None else wait


def _chance() -> float:
    return (uuid4().int & 0xFFFFFFFF) / 0x100000000


def outcome(state: RetryCallState) -> Optional[BaseException]:
    """What the last attempt ended with."""
    return state.outcome.exception() if state.outcome is not None else None


def may_repeat(error: Optional[BaseException], repeatable: bool) -> bool:
    """Whether a request that ended so is sent again."""
    if isinstance(error, NotTaken):
        return True
    if isinstance(error, ConnectionFailed):
        return repeatable
    if isinstance(error, ApiError):
        if error.status in (429, 503) or error.code in ("overloaded", "alias_moved"):
            return True
        if error.code == "request_in_progress":
            return repeatable
        return repeatable and error.status in (502, 504)
    return False


class NotTaken(ConnectionFailed):
    """There was no connection, so nothing was asked."""


def failure_of(error: Exception) -> GleanerError:
    """An error of the way to the server, as one of this package's."""
    text = str(error) or type(error).__name__
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
        return NotTaken(f"no connection: {text}")
    if isinstance(error, (httpcore.ConnectError, httpcore.ConnectTimeout)):
        return NotTaken(f"no connection: {text}")
    if isinstance(error, (httpx.TimeoutException, httpcore.TimeoutException)):
        return TimedOut(f"no answer in time: {text}")
    return ConnectionFailed(text)


@dataclass(frozen=True)
class Pending:
    """An answer that is still to come: what takes longer than a request, and goes on."""

    task: Any


#: Operations that are answered with a task where they take long.
LONG = {"compactCatalog", "compactIndex", "fitFeedback", "restoreSnapshot", "takeSnapshot"}


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """A request, and how its answer is read."""

    operation: str
    method: str
    #: With the parameters.
    path: str
    parse: Callable[[Any], Answer]
    content: Optional[bytes] = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Whether it does no harm to send it twice.
    repeatable: bool = False


def _as_it_is(value: Any) -> Any:
    return value


def call(
    operation: str,
    *names: str,
    body: Any = None,
    content: Optional[bytes] = None,
    content_type: str = JSON,
    params: Optional[Mapping[str, Any]] = None,
    headers: Optional[Mapping[str, str]] = None,
    key: Optional[str] = None,
    keyed: bool = True,
    parse: Callable[[Any], Any] = _as_it_is,
) -> Call[Any]:
    """The request of an operation, with the names that its address has places for, in their order.
    Where it may carry an idempotency key, it has `key` or one of its own, unless it is not `keyed`."""
    known = OPERATIONS[operation]
    path = known.path
    for name in names:
        before, rest = path.split("{", 1)
        path = before + quote(str(name), safe="") + rest.split("}", 1)[1]
    pairs = [(name, _parameter(value)) for name, value in (params or {}).items() if value is not None]
    if pairs:
        path += "?" + urlencode(pairs)
    sent = {name: value for name, value in (headers or {}).items() if value is not None}
    if body is not None:
        content = encode(body)
    if content is not None:
        sent["content-type"] = content_type
    if known.takes_key and keyed:
        sent["idempotency-key"] = key or uuid4().hex
    repeatable = known.takes_key or known.method in ("GET", "PUT", "DELETE") or operation in REPEATABLE
    return Call(operation, known.method, path, parse, content, sent, repeatable)


def _parameter(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def filter_parameter(filter: Any) -> Optional[str]:
    """A filter for an address: as text, or as JSON."""
    if filter is None or isinstance(filter, str):
        return filter
    return encode(filter).decode()


def retry_after(headers: Mapping[str, str]) -> Optional[float]:
    """The seconds that a `retry-after` header names."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None


def error_in(status: int, headers: Mapping[str, str], content: bytes) -> GleanerError:
    """The error that an answer is."""
    request_id = headers.get("x-request-id")
    after = retry_after(headers)
    try:
        answer = json.loads(content)
        failure = answer["error"]
        return error_of(
            failure,
            status=status,
            request_id=answer.get("request_id") or request_id,
            retry_after=after,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        text = content[:200].decode("utf-8", "replace").strip()
        if status in (429, 502, 503, 504):
            # What stands in between has no turn for it either.
            code = "timeout" if status == 504 else "overloaded"
            failure = {"code": code, "message": text or f"status {status}"}
            return error_of(failure, status=status, request_id=request_id, retry_after=after)
        return UnexpectedAnswer(f"status {status}: {text}")


def read_answer(call: Call[Answer], status: int, headers: Mapping[str, str], content: bytes) -> Answer:
    """What was answered, or the error that it is."""
    if status == 304 or (200 <= status < 300 and not content):
        return call.parse(None)
    if not 200 <= status < 300:
        raise error_in(status, headers, content)
    if not headers.get("content-type", "").startswith(JSON):
        return call.parse(content)
    try:
        value = json.loads(content)
    except ValueError as error:
        raise UnexpectedAnswer(f"status {status}, and what is no JSON: {content[:200]!r}") from error
    if status == 202 and call.operation in LONG:
        return call.parse(Pending(value))
    return call.parse(value)


def is_unsettled(answer: Any) -> bool:
    """Whether the same bulk request, sent again, may write more of its documents."""
    items = answer.get("items", []) if isinstance(answer, dict) else []
    return any((item.get("error") or {}).get("code") in UNSETTLED for item in items)


class BaseUrl:
    """Where the server is."""

    def __init__(self, url: str) -> None:
        parts = httpx.URL(url)
        if parts.scheme not in ("http", "https") or not parts.host:
            raise ValueError(f"{url!r} is no address of a server, such as http://localhost:7700")
        self.text = str(parts).rstrip("/")
        self.tls = parts.scheme == "https"
        self.host = parts.raw_host.decode("ascii").strip("[]")
        self.port = parts.port or (443 if self.tls else 80)
        self.authority = parts.netloc.decode("ascii")
        self.prefix = parts.raw_path.decode("ascii").rstrip("/")


def decode_vector(value: Any) -> List[float]:
    """A vector out of its Base64, which is exact."""
    if not isinstance(value, str):
        return [float(number) for number in value]
    numbers = array("f", base64.b64decode(value))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


class EventReader:
    """Server-sent events out of the lines of an answer."""

    def __init__(self) -> None:
        self.kind = "message"
        self.data: List[str] = []

    def feed(self, line: str) -> Optional[tuple[str, str]]:
        """The event that ends with this line: its name and its data."""
        if line:
            name, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if name == "event":
                self.kind = value
            elif name == "data":
                self.data.append(value)
            return None
        if not self.data:
            return None
        event = (self.kind, "\n".join(self.data))
        self.kind, self.data = "message", []
        return event


def iterate(values: Iterable[T]) -> Iterator[T]:
    """One after the other."""
    return iter(values)


async def aiterate(values: MaybeAsyncIterable[T]) -> AsyncIterator[T]:
    """One after the other, of what may have to be waited for."""
    if isinstance(values, AsyncIterable):
        async for value in values:
            yield value
    else:
        for value in values:
            yield value


def sleep(seconds: float) -> None:
    """Waits."""
    time.sleep(seconds)


async def asleep(seconds: float) -> None:
    """Waits, and lets others go on."""
    await anyio.sleep(seconds)
