"""What FRED answers, as rows of a date and a value.

Two forms: the XML of ``series/observations``, for which a key is needed, and the CSV of ``fredgraph.csv``. Whatever is
neither, or not whole, is a :class:`BadAnswer`, which is worth another try.
"""

from __future__ import annotations

import csv
import io
from xml.etree import ElementTree

Row = tuple[str, str]


class BadAnswer(Exception):
    """An answer that is not what was asked for; a few words say what it is."""


def parse_observations(body: bytes) -> ElementTree.Element:
    """An ``<observations>`` document.

    Raises
    ------
    BadAnswer
        If it is not such a document or has fewer observations than it says.
    """
    root = _parse(body)
    if root.tag != "observations":
        raise BadAnswer(f"it sent <{root.tag}> in place of observations")
    found = sum(child.tag == "observation" for child in root)
    count = root.get("count", "")
    if count.isdigit() and int(count) != found:
        raise BadAnswer(f"its answer has {found} of {count} observations")
    return root


def rows_of(root: ElementTree.Element) -> list[Row]:
    """Dates and values (text, ``.`` where missing) of an ``<observations>`` document."""
    return [(child.get("date", ""), child.get("value", "")) for child in root if child.tag == "observation"]


def read_csv(body: bytes, series: str, whole: bool) -> list[Row]:
    """Dates and values (text; ``.`` or empty where missing) of a CSV answer, header ``DATE`` or ``observation_date``.

    Parameters
    ----------
    body : bytes
    series : str
        The series that was asked for.
    whole : bool
        Whether the connection told where the answer ends. If not, a last line without an end is taken for cut short.

    Raises
    ------
    BadAnswer
        If it is a web page, has another header or is cut short.
    """
    text = _decode(body)
    if text.lstrip()[:1] == "<":
        raise BadAnswer("it sent a web page in place of data")
    try:
        rows = list(csv.reader(io.StringIO(text)))
    except csv.Error as error:
        raise BadAnswer(f"its answer is not a table ({error})") from None
    header = [name.strip() for name in rows[0]] if rows else []
    if len(header) != 2 or header[0].lower() not in ("date", "observation_date") or header[1] != series:
        raise BadAnswer(f"its answer does not begin with observation_date,{series}")
    body_rows = [row for row in rows[1:] if row]
    if any(len(row) != 2 for row in body_rows) or not (whole or text.endswith("\n")):
        raise BadAnswer("its answer is cut short")
    return [(date, value) for date, value in body_rows]


def error_text(body: bytes) -> str:
    """FRED's own words from an ``<error>`` document, in one line; empty if there are none."""
    try:
        root = _parse(body)
    except BadAnswer:
        return ""
    return " ".join(root.get("message", "").split()) if root.tag == "error" else ""


def _parse(body: bytes) -> ElementTree.Element:
    if body.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        raise BadAnswer("it sent a web page in place of data")
    try:
        return ElementTree.fromstring(body)
    except ElementTree.ParseError:
        raise BadAnswer("its answer is cut short or is not XML") from None


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadAnswer("its answer is not text") from None
