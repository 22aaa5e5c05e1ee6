"""Requests to FRED: time limits, retries, the rate limit, and a key that goes nowhere else.

The key stands in the address of a request, so an address is never part of a message, and no exception of the network
library, which carries the address, outlives the function that meets it.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote_plus, urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

from estimhank.data.fred_answers import BadAnswer, Row, error_text, parse_observations, read_csv, rows_of
from estimhank.support.errors import DataError

API = "https://api.stlouisfed.org/fred/series/observations"
GRAPH = "https://fred.stlouisfed.org/graph/fredgraph.csv"


class FredUnreachable(DataError):
    """FRED gave no usable answer, whatever was asked; other sources may serve."""


@dataclass
class FredClient:
    """How FRED is asked.

    Attributes
    ----------
    key : str
        The key; without one the public CSV files are asked for.
    api, graph : str
        Addresses of the two services.
    timeout : float
        Seconds that one request may take.
    retries : int
        Further tries after an answer that another try may better.
    backoff : float
        Seconds before the first further try; they double each time.
    interval : float
        Least seconds between two requests: half a second keeps within FRED's 120 a minute.
    sleep, clock : callable
        For tests.
    """

    key: str = field(default="", repr=False)
    api: str = API
    graph: str = GRAPH
    timeout: float = 20.0
    retries: int = 3
    backoff: float = 1.0
    interval: float = 0.5
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _last: float = field(default=-1e9, repr=False)

    def fetch(self, series: str, vintage: str = "") -> tuple[bytes, list[Row]]:
        """Ask for a series.

        Parameters
        ----------
        series : str
            FRED's name of it.
        vintage : str
            ISO date at which the values are wanted; needs a key.

        Returns
        -------
        body : bytes
            The answer as it came.
        rows : list of (str, str)
            Dates and values.

        Raises
        ------
        DataError
            If FRED refuses the request; its words are in the message.
        FredUnreachable
            If no try gave a usable answer.
        """
        problem = ""
        for attempt in range(self.retries + 1):
            if attempt:
                self.sleep(self.backoff * 2 ** (attempt - 1))
            reply = self._ask(series, vintage)
            if reply.refused:
                raise DataError(f"FRED refused the series {series}: {self._redact(reply.refused)}")
            problem = reply.problem
            if not problem:
                return reply.body, list(reply.rows)
            if reply.wait and attempt < self.retries:
                self.sleep(reply.wait)
        raise FredUnreachable(
            f"FRED gave no series {series} in {self.retries + 1} tries ({self._redact(problem)})",
        )

    def _ask(self, series: str, vintage: str) -> _Reply:
        pause = self._last + self.interval - self.clock()
        if pause > 0:
            self.sleep(pause)
        self._last = self.clock()
        if self.key:
            return _ask_fredapi(self.key, self.api, self.timeout, series, vintage)
        reply = _request(f"{self.graph}?{urlencode({'id': series})}", self.timeout)
        if reply.failed:
            return reply
        try:
            return replace(reply, rows=tuple(read_csv(reply.body, series, reply.whole)))
        except BadAnswer as bad:
            return _Reply(problem=str(bad))

    def _redact(self, text: str) -> str:
        return text.replace(self.key, "...").replace(quote_plus(self.key), "...") if self.key else text


@dataclass(frozen=True)
class _Reply:
    body: bytes = b""
    rows: tuple[Row, ...] = ()
    whole: bool = True
    problem: str = ""  # another try may help
    refused: str = ""  # it will not
    wait: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether there is no answer."""
        return bool(self.problem or self.refused)


def _ask_fredapi(key: str, api: str, timeout: float, series: str, vintage: str) -> _Reply:
    """One request by fredapi, the client that FRED's users know; its transport, which has no time limit, is ours.

    What it makes of the answer is not taken: of two values for one date it keeps the last, and a value that it cannot
    read it does not name. The rows are those of the document that it was given.
    """
    from fredapi import Fred  # with pandas, which only this needs

    reply = _Reply()

    class Client(Fred):  # type: ignore[misc]
        root_url = api.removesuffix("/series/observations")

        def _Fred__fetch_data(self, url: str) -> Any:  # its only way to the network
            nonlocal reply
            reply = _request(f"{url}&{urlencode({'api_key': key})}", timeout)
            if reply.failed:
                raise BadAnswer(reply.problem or reply.refused)
            root = parse_observations(reply.body)
            reply = replace(reply, rows=tuple(rows_of(root)))
            return root

    pinned = {"realtime_start": vintage, "realtime_end": vintage} if vintage else {}
    try:
        with contextlib.suppress(TypeError, ValueError):  # the rows' own reader names what is wrong with them
            Client(api_key=key).get_series(series, **pinned)
    except BadAnswer as bad:
        return reply if reply.failed else _Reply(problem=str(bad))
    return reply


class _NoRedirect(HTTPRedirectHandler):
    """An address with a key in it is not passed on to wherever an answer points."""

    def redirect_request(self, *arguments: object, **more: object) -> None:
        return None


def _request(url: str, timeout: float) -> _Reply:
    opener = build_opener(_NoRedirect) if "api_key=" in url else build_opener()
    request = Request(url, headers={"User-Agent": "estimhank", "Accept": "*/*"})
    try:
        with opener.open(request, timeout=timeout) as response:
            body = _read_body(response, timeout)
            framed = response.headers.get("Content-Length") is not None or response.chunked
            return _Reply(body, whole=framed)
    except HTTPError as error:
        with error:
            return _refusal(error, timeout)
    except URLError as error:
        return _Reply(problem=_words(error.reason))
    except (http.client.HTTPException, OSError) as error:
        return _Reply(problem=_words(error))


def _read_body(response: http.client.HTTPResponse, timeout: float) -> bytes:
    # the time limit of a socket is one for each piece: a server that drips would never meet it
    deadline = time.monotonic() + timeout
    pieces = []
    while piece := response.read1(65536):
        pieces.append(piece)
        if time.monotonic() > deadline:
            raise TimeoutError
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(pieces)


def _refusal(error: HTTPError, timeout: float) -> _Reply:
    try:
        body = error.read(100_000)
    except (http.client.HTTPException, OSError):
        body = b""
    words = error_text(body)
    said = f"{error.code} {words or http.client.responses.get(error.code, '')}".strip()
    if error.code == 429:
        after = error.headers.get("Retry-After", "")
        return _Reply(problem=said, wait=min(float(after), timeout) if after.isdigit() else 0.0)
    if error.code >= 500 or error.code == 408:
        return _Reply(problem=said)
    return _Reply(refused=words or f"{said} (is the name right?)" if error.code == 404 else words or said)


def _words(reason: object) -> str:
    """Words for what went wrong with a connection, without the address."""
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, http.client.IncompleteRead):
        return "its answer is cut short"
    if isinstance(reason, http.client.RemoteDisconnected | ConnectionResetError):
        return "the connection was closed"
    if isinstance(reason, ssl.SSLError):
        return f"no secure connection: {reason.reason or 'TLS error'}"
    if isinstance(reason, OSError):
        return reason.strerror or str(reason) or "no connection"
    return type(reason).__name__ if isinstance(reason, Exception) else "no connection"
