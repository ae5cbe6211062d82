"""How requests travel."""

# Written by scripts/generate.py of its twin in `_async`.

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Mapping, Optional, Union

import httpx
from tenacity import Retrying

from .._core import AGENT, Answer, BaseUrl, Call, Retry, error_in, failure_of, read_answer, sleep
from .._files import Certificate, Verify, context_of, is_behind_proxy

#: A key or a token, or what gives the one to use now.
ApiKey = Union[str, Callable[[], str]]


class Transport:
    """A server, and how it is asked."""

    def __init__(
        self,
        url: Optional[str],
        *,
        api_key: Optional[ApiKey],
        timeout: Union[float, httpx.Timeout, None],
        retry: Union[Retry, int],
        verify: Verify,
        cert: Optional[Certificate],
        proxy: Optional[str],
        headers: Optional[Mapping[str, str]],
        http_client: Optional[httpx.Client],
    ) -> None:
        self.url = BaseUrl(url or os.environ.get("GLEANER_URL") or "http://127.0.0.1:7700")
        self.api_key: Optional[ApiKey] = api_key or os.environ.get("GLEANER_API_KEY") or None
        if not isinstance(timeout, httpx.Timeout):
            timeout = httpx.Timeout(timeout, connect=5.0 if timeout is None else min(5.0, timeout))
        self.timeout = timeout
        self.retry = Retry(attempts=retry + 1) if isinstance(retry, int) else retry
        self.extra = dict(headers or {})
        self.context = context_of(verify, cert) if self.url.tls else None
        self.owned = http_client is None
        self.http = http_client or httpx.Client(
            timeout=timeout,
            verify=self.context if self.context is not None else False,
            proxy=proxy,
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=30),
        )
        #: Whether bytes may go to the server without the HTTP client: not past a proxy, or a client
        #: that is the caller's.
        self.is_direct = self.owned and proxy is None and not is_behind_proxy(self.url.host, self.url.tls)
        #: Whether the server answers streams; not known before it was asked.
        self.streams: Optional[bool] = None

    def headers(self, more: Mapping[str, str]) -> dict[str, str]:
        """What goes with every request, and more."""
        headers = {"user-agent": AGENT, **self.extra}
        key = self.api_key() if callable(self.api_key) else self.api_key
        if key:
            headers["authorization"] = f"Bearer {key}"
        headers.update(more)
        return headers

    def send(
        self,
        call: Call[Answer],
        *,
        again: Optional[Callable[[Any], bool]] = None,
    ) -> Answer:
        """What the server answers, after as many attempts as it takes and may take. `again` says of
        an answer whether to send the same once more; the last one counts."""
        attempts = 0
        for attempt in Retrying(**self.retry.settings(call)):
            with attempt:
                answer = self.once(call)
                attempts = attempt.retry_state.attempt_number
        while again is not None and again(answer) and attempts < self.retry.attempts:
            sleep(self.retry.pause(attempts, None))
            attempts += 1
            answer = self.once(call)
        return answer

    def once(self, call: Call[Answer]) -> Answer:
        """What the server answers to one attempt."""
        try:
            response = self.http.request(
                call.method,
                self.url.text + call.path,
                content=call.content,
                headers=self.headers(call.headers),
            )
        except httpx.HTTPError as error:
            raise failure_of(error) from error
        return read_answer(call, response.status_code, response.headers, response.content)

    @contextmanager
    def open(self, call: Call[Any], timeout: Union[httpx.Timeout, None] = None) -> Iterator[httpx.Response]:
        """An answer that is read while it comes."""
        request = self.http.build_request(
            call.method,
            self.url.text + call.path,
            headers=self.headers(call.headers),
            timeout=timeout or self.timeout,
        )
        try:
            for attempt in Retrying(**self.retry.settings(call)):
                with attempt:
                    response = self._begin(request)
        except httpx.HTTPError as error:
            raise failure_of(error) from error
        try:
            yield response
        except httpx.HTTPError as error:
            raise failure_of(error) from error
        finally:
            response.close()

    def _begin(self, request: httpx.Request) -> httpx.Response:
        try:
            response = self.http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise failure_of(error) from error
        if response.status_code >= 300:
            try:
                response.read()
            finally:
                response.close()
            raise error_in(response.status_code, response.headers, response.content)
        return response

    def close(self) -> None:
        """Lets go of the connections."""
        if self.owned:
            self.http.close()
