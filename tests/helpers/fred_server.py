"""A stand-in for FRED on the loopback interface: both endpoints, in the forms and with the errors of the real ones.

It answers with what the test has put into it; faults are queued and served, one a request, before anything else.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import quoteattr

KEY = "0123456789abcdef0123456789abcdef"

#: FRED's own words.
NOT_REGISTERED = (
    "Bad Request.  The value for variable api_key is not registered.  "
    "Read https://fred.stlouisfed.org/docs/api/api_key.html for more information."
)
NO_SERIES = "Bad Request.  The series does not exist."
NOT_IN_ALFRED = "Bad Request.  The series does not exist in ALFRED but may exist in FRED."
TOO_MANY = "Too Many Requests.  Exceeded Rate Limit"
NOT_FOUND = "Not Found.  The requested resource could not be found."
INTERNAL = "Internal Server Error"

HTML = "<!DOCTYPE html>\n<html><head><title>Error</title></head><body><p>We are sorry<br></body></html>\n"


@dataclass
class FredStandIn:
    """What the server knows and what it was asked.

    Attributes
    ----------
    series : dict
        Dates and values (text) of each series; ``"GDPC1@2024-02-01"`` for a vintage.
    header : str
        First word of a CSV header: ``"observation_date"`` or, as it once was, ``"DATE"``.
    empty_missing : bool
        Whether a missing value is empty and not ``.``, in both forms.
    retry_after : str
        Seconds that a 429 asks for; empty: it does not say.
    faults : list of str
        Served one a request: ``"400"``, ``"404"``, ``"429"``, ``"500"`` (XML, or HTML from the CSV endpoint),
        ``"html"`` (a page with status 200), ``"html 503"``, ``"stall"``, ``"cut"`` (fewer bytes than announced),
        ``"cut open"`` (a body that ends early on a connection that announces no length), ``"short"`` (fewer
        observations than announced), ``"drop"`` (the connection closed at once), ``"redirect"``.
    requests : list of str
        Paths with queries, as they arrived.
    """

    series: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    header: str = "observation_date"
    empty_missing: bool = False
    retry_after: str = ""
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    url: str = ""
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def api(self) -> str:
        return f"{self.url}/fred/series/observations"

    @property
    def graph(self) -> str:
        return f"{self.url}/graph/fredgraph.csv"


@contextlib.contextmanager
def serve_fred(**settings) -> Iterator[FredStandIn]:
    """Run a stand-in in a thread while the block runs."""
    state = FredStandIn(**settings)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state}))
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: FredStandIn

    def log_message(self, *arguments) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.state.requests.append(self.path)
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        xml = parts.path == "/fred/series/observations"
        fault = self.state.faults.pop(0) if self.state.faults else ""
        if fault == "stall":
            self.state.released.wait(30)
        elif fault == "drop":
            self.close_connection = True
        elif fault == "redirect":
            self._send(302, "", "text/html", {"Location": f"{self.state.url}/elsewhere?{parts.query}"})
        elif fault in ("html", "html 503"):
            self._send(503 if fault == "html 503" else 200, HTML, "text/html")
        elif fault in ("400", "404", "429", "500"):
            words = {"400": NO_SERIES, "404": NOT_FOUND, "429": TOO_MANY, "500": INTERNAL}[fault]
            self._error(int(fault), words, xml)
        elif xml:
            self._answer_xml(query, fault)
        elif parts.path == "/graph/fredgraph.csv":
            self._answer_csv(query, fault)
        else:
            self._error(404, NOT_FOUND, xml=False)

    def _answer_xml(self, query: dict[str, str], fault: str) -> None:
        if query.get("api_key") != KEY:
            return self._error(400, NOT_REGISTERED)
        name, vintage = query.get("series_id", ""), query.get("realtime_start", "")
        if vintage != query.get("realtime_end", ""):
            return self._error(400, "Bad Request.  The stand-in answers for one vintage at a time.")
        rows = self.state.series.get(f"{name}@{vintage}" if vintage else name)
        if rows is None:
            return self._error(400, NOT_IN_ALFRED if vintage and name in self.state.series else NO_SERIES)
        day = vintage or "2026-07-01"
        real = f'realtime_start="{day}" realtime_end="{day}"'
        lines = [f'  <observation {real} date="{date}" value={quoteattr(self._value(v))}/>' for date, v in rows]
        head = (
            f'<observations {real} observation_start="1600-01-01" observation_end="9999-12-31" units="lin" '
            f'output_type="1" file_type="xml" order_by="observation_date" sort_order="asc" count="{len(rows)}" '
            'offset="0" limit="100000">'
        )
        kept = lines[:-1] if fault == "short" else lines
        text = "\n".join(['<?xml version="1.0" encoding="utf-8" ?>', head, *kept, "</observations>", ""])
        self._send_whole_or_not(text, "text/xml; charset=UTF-8", fault)

    def _answer_csv(self, query: dict[str, str], fault: str) -> None:
        name = query.get("id", "")
        rows = self.state.series.get(name)
        if rows is None:
            return self._error(404, NOT_FOUND, xml=False)
        lines = [f"{date},{self._value(value)}" for date, value in rows]
        self._send_whole_or_not("\n".join([f"{self.state.header},{name}", *lines, ""]), "application/csv", fault)

    def _value(self, value: str) -> str:
        return "" if value == "." and self.state.empty_missing else value

    def _send_whole_or_not(self, text: str, kind: str, fault: str) -> None:
        body = text.encode()
        if fault == "cut open":
            self._send(200, text[: 2 * len(text) // 3], kind, length=None)
        elif fault == "cut":
            self._send(200, text[: 2 * len(text) // 3], kind, length=len(body))
        else:
            self._send(200, text, kind)

    def _error(self, code: int, message: str, xml: bool = True) -> None:
        more = {"Retry-After": self.state.retry_after} if code == 429 and self.state.retry_after else {}
        if xml:
            text = f'<?xml version="1.0" encoding="utf-8" ?>\n<error code="{code}" message={quoteattr(message)}/>\n'
            self._send(code, text, "text/xml; charset=UTF-8", more)
        else:
            self._send(code, HTML, "text/html; charset=UTF-8", more)

    def _send(
        self, code: int, text: str, kind: str, more: dict[str, str] | None = None, length: int | None = -1
    ) -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)
        self.close_connection = True
