"""FRED by a stand-in on this machine: every form of answer, every fault, and a key that is never seen."""

from __future__ import annotations

import datetime
import re
import time
import traceback
from urllib.parse import quote_plus

import fredapi
import numpy as np
import pytest

from estimhank.data import US_OBSERVABLES, Observable, load_series, make_dataset, read_series
from estimhank.data import fred as fred_source
from estimhank.data.fred import load_fred
from estimhank.data.fred_cache import find_answer, newest_answer
from estimhank.data.fred_client import FredClient, FredUnreachable
from estimhank.support.errors import DataError
from tests.helpers.fred_server import KEY, NO_SERIES, NOT_IN_ALFRED, serve_fred

VINTAGE = "2024-02-01"


def quarterly(values, first=2000):
    return [(f"{first + j // 4}-{3 * (j % 4) + 1:02d}-01", str(value)) for j, value in enumerate(values)]


def monthly(values, first=2000):
    return [(f"{first + j // 12}-{j % 12 + 1:02d}-01", str(value)) for j, value in enumerate(values)]


GDP = [100, 101, 103.5, ".", 104, 102, 99, 107]
RATE = [5.45, 5.73, 5.85, 6.02, 6.27, 6.53, 6.54, 6.5, 6.52, 6.51, ".", 6.4, 5.98, 5.49, 5.31]


@pytest.fixture(autouse=True)
def private_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("ESTIMHANK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("FRED_API_KEY", raising=False)


@pytest.fixture
def fred():
    series = {"GDPC1": quarterly(GDP), "FEDFUNDS": monthly(RATE)}
    with serve_fred(series=series) as server:
        yield server


@pytest.fixture
def client(fred):
    """``client(key)`` asks the stand-in, and notes how long it would have slept."""

    def make(key=KEY, **settings):
        naps: list[float] = []
        settings = {"timeout": 5.0, "interval": 0.0, **settings}
        made = FredClient(key, fred.api, fred.graph, sleep=naps.append, **settings)
        made.naps = naps  # type: ignore[attr-defined]
        return made

    return make


SOURCES = [("fred", KEY), ("fred-csv", "")]


@pytest.mark.parametrize("source, key", SOURCES)
def test_series_of_both_frequencies_come_together_on_quarters(client, source, key):
    table = load_fred(source, ["GDPC1", "FEDFUNDS"], {}, client=client(key))
    want = [float("nan") if value == "." else value for value in GDP]
    np.testing.assert_array_equal(table.column("GDPC1"), want)
    # averaged here, with all the digits; a quarter without one of its months has no value, nor one after the end
    means = [np.mean(RATE[j : j + 3]) for j in (0, 3, 6)] + [np.nan, np.mean(RATE[12:15]), *[np.nan] * 3]  # type: ignore[arg-type, list-item]
    np.testing.assert_allclose(table.column("FEDFUNDS"), means, rtol=1e-15)
    assert table.provenance["source"] == source
    assert [(s["id"], s["frequency"]) for s in table.provenance["series"]] == [  # type: ignore[attr-defined]
        ("GDPC1", "quarterly"),
        ("FEDFUNDS", "monthly"),
    ]


def test_fredapi_reads_the_stand_in_as_we_do(fred, client):
    other = fredapi.Fred(api_key=KEY)
    other.root_url = f"{fred.url}/fred"
    theirs = other.get_series("GDPC1")
    ours = load_fred("fred", ["GDPC1"], {}, client=client())
    np.testing.assert_array_equal(ours.column("GDPC1"), theirs.to_numpy())
    with pytest.raises(ValueError, match=re.escape(NO_SERIES)):
        other.get_series("GDPC2")


@pytest.mark.parametrize("header", ["DATE", "observation_date"])
@pytest.mark.parametrize("empty", [False, True])
def test_every_form_of_the_answers_is_read(fred, client, header, empty):
    fred.header, fred.empty_missing = header, empty
    for source, key in SOURCES:
        table = load_fred(source, ["GDPC1"], {}, client=client(key))
        assert np.isnan(table.column("GDPC1")[3]) and table.column("GDPC1")[2] == 103.5


def test_a_vintage_is_asked_for_by_its_day(fred, client):
    fred.series[f"GDPC1@{VINTAGE}"] = quarterly([90, 91, 92])
    table = load_fred("fred", ["GDPC1"], {}, VINTAGE, client())
    assert list(table.column("GDPC1")) == [90, 91, 92] and table.provenance["vintage"] == VINTAGE
    assert f"realtime_start={VINTAGE}&realtime_end={VINTAGE}" in fred.requests[0]
    with pytest.raises(DataError, match=re.escape(NOT_IN_ALFRED.replace("  ", " "))):
        load_fred("fred", ["FEDFUNDS"], {}, VINTAGE, client())


@pytest.mark.parametrize("fault", ["429", "500", "html", "html 503", "cut", "drop"])
@pytest.mark.parametrize("source, key", SOURCES)
def test_a_passing_fault_is_tried_again_after_growing_pauses(fred, client, source, key, fault):
    fred.faults = [fault] * 3
    asking = client(key)
    table = load_fred(source, ["GDPC1"], {}, client=asking)
    assert table.column("GDPC1")[0] == 100
    assert len(fred.requests) == 4 and asking.naps == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    "key, fault, words",
    [
        (KEY, "429", "429 Too Many Requests. Exceeded Rate Limit"),
        (KEY, "500", "500 Internal Server Error"),
        (KEY, "html", "a web page in place of data"),
        (KEY, "cut", "cut short"),
        (KEY, "cut open", "cut short or is not XML"),
        (KEY, "short", "has 7 of 8 observations"),
        (KEY, "drop", "the connection was closed"),
        ("", "429", "429 Too Many Requests"),
        ("", "500", "500 Internal Server Error"),
        ("", "html", "a web page in place of data"),
        ("", "html 503", "503 Service Unavailable"),
        ("", "cut", "cut short"),
        ("", "cut open", "cut short"),
        ("", "drop", "the connection was closed"),
    ],
)
def test_a_lasting_fault_ends_in_one_sentence_with_the_alternatives(fred, client, key, fault, words):
    fred.faults = [fault] * 9
    with pytest.raises(FredUnreachable) as caught:
        load_fred("fred" if key else "fred-csv", ["GDPC1"], {}, client=client(key))
    said = str(caught.value)
    assert words in said and "snapshot" in said and "CSV" in said and "\n" not in said
    assert len(fred.requests) == 4


def test_a_pause_that_fred_asks_for_is_kept_but_not_after_the_last_try(fred, client):
    fred.faults, fred.retry_after = ["429"] * 4, "3"
    asking = client()
    with pytest.raises(FredUnreachable):
        load_fred("fred", ["GDPC1"], {}, client=asking)
    assert asking.naps == [3.0, 1.0, 3.0, 2.0, 3.0, 4.0]


def test_a_key_in_freds_own_words_is_taken_out(fred, client):
    for key in (KEY, "a key+with/signs"):
        assert key not in client(key)._redact(f"refused: {key}")
        assert quote_plus(key) not in client(key)._redact(f"/observations?api_key={quote_plus(key)}&x=1")


@pytest.mark.parametrize("key", [KEY, ""])
def test_a_stalled_connection_meets_the_time_limit(fred, client, key):
    fred.faults = ["stall"]
    before = time.monotonic()
    table = load_fred("fred" if key else "fred-csv", ["GDPC1"], {}, client=client(key, timeout=0.2))
    assert table.column("GDPC1")[0] == 100 and time.monotonic() - before < 20
    assert len(fred.requests) == 2


@pytest.mark.parametrize(
    "key, fault, words",
    [
        (KEY, "400", "FRED refused the series GDPC1: Bad Request. The series does not exist."),
        (KEY, "404", "FRED refused the series GDPC1: Not Found. The requested resource could not be found."),
        ("", "400", "FRED refused the series GDPC1: 400 Bad Request"),
        ("", "404", "FRED refused the series GDPC1: 404 Not Found (is the name right?)"),
        (KEY, "redirect", "302 Found"),
    ],
)
def test_a_refusal_is_final_and_in_freds_words(fred, client, key, fault, words):
    fred.faults = [fault]
    with pytest.raises(DataError) as caught:
        load_fred("fred" if key else "fred-csv", ["GDPC1"], {}, client=client(key))
    assert words in str(caught.value) and len(fred.requests) == 1


def test_no_network_names_what_is_in_the_cache(fred, client, monkeypatch):
    nowhere = FredClient("", "http://127.0.0.1:9/a", "http://127.0.0.1:9/g", timeout=1.0, sleep=lambda s: None)
    with pytest.raises(FredUnreachable, match=r'4 tries .*: take source = "snapshot", a CSV or Excel file$'):
        load_fred("fred-csv", ["GDPC1"], {}, client=nowhere)
    load_fred("fred", ["GDPC1"], {}, client=client())
    with pytest.raises(FredUnreachable, match=r'or "fred-cache" \(answers kept on \d{4}-\d\d-\d\d\)$'):
        load_fred("fred-csv", ["GDPC1"], {}, client=nowhere)
    table = load_series("fred-cache", observables=[Observable("y", "GDPC1", "level")])
    assert table.column("GDPC1")[0] == 100
    with pytest.raises(DataError, match="the cache has no answer of FRED for CPIAUCSL"):
        load_fred("fred-cache", ["CPIAUCSL"], {})


def test_answers_are_kept_and_asked_for_again_only_when_they_may_differ(fred, client, monkeypatch):
    fred.series[f"GDPC1@{VINTAGE}"] = quarterly([90, 91, 92])
    for _ in range(3):
        load_fred("fred", ["GDPC1"], {}, client=client())
        load_fred("fred", ["GDPC1"], {}, VINTAGE, client())
    assert len(fred.requests) == 2
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    fred.series[f"GDPC1@{today}"] = quarterly([1, 2])  # a day that is not over: the values may still change
    for _ in range(2):
        load_fred("fred", ["GDPC1"], {}, today, client())
    assert len(fred.requests) == 4


def test_a_damaged_cache_is_as_none(fred, client, tmp_path):
    load_fred("fred", ["GDPC1"], {}, client=client())
    (path,) = (tmp_path / "cache" / "fred").iterdir()
    for damage in ("", "[]", '{"rows": 3}', '{"rows": [], "retrieved": "soon", "sha256": ""}'):
        path.write_text(damage)
        assert find_answer("fred", "GDPC1", "") is None and newest_answer("GDPC1", "") is None
        assert load_fred("fred", ["GDPC1"], {}, client=client()).column("GDPC1")[0] == 100
    assert len(fred.requests) == 5


def test_a_cache_that_cannot_be_written_does_no_harm(fred, client, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ESTIMHANK_CACHE", str(tmp_path / "file"))
    assert load_fred("fred", ["GDPC1"], {}, client=client()).column("GDPC1")[0] == 100


@pytest.mark.parametrize(
    "rows, words",
    [
        (
            [("2000-01-01", "1"), ("2000-01-01", "2")],
            "FRED series X, row 2, column date: the quarter 2000Q1 appears twice",
        ),
        ([("2000-01-01", "1"), ("2000-07-01", "2")], "so 2000Q2 is absent"),
        ([("2000-01-01", "1"), ("2001-01-01", "2")], "a year later; series must be quarterly or monthly"),
        ([("2000-01-03", "1"), ("2000-01-04", "2")], "dates must be quarterly, like 1966-01-01 or 1966Q1, or monthly"),
        ([("2000-01-01", "1"), ("2000-04-01", "2,5")], "FRED series X, row 2, column X: '2,5' is not a number"),
        ([], "FRED has no observations of X"),
    ],
)
def test_an_answer_that_is_no_quarterly_series_is_named_and_not_kept(fred, client, rows, words):
    fred.series["X"] = rows
    with pytest.raises(DataError) as caught:
        load_fred("fred", ["X"], {}, client=client())
    assert words in str(caught.value) and newest_answer("X", "") is None


def test_requests_keep_their_distance(fred):
    now, naps = [100.0], []

    def sleep(seconds):
        naps.append(seconds)
        now[0] += seconds

    asking = FredClient(KEY, fred.api, fred.graph, sleep=sleep, clock=lambda: now[0])
    for _ in range(3):
        asking.fetch("GDPC1")
    assert naps == [0.5, 0.5]  # 120 a minute


FAULTS = ["400", "404", "429", "500", "html", "html 503", "cut", "cut open", "drop", "redirect", "stall", "short"]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_key_is_nowhere_to_be_seen(fred, client, capsys, caplog, tmp_path, fault):
    """Not in the message, what it was raised from, the traceback, what is printed or logged, nor in the cache."""
    fred.faults = [fault] * 4
    asking = client(timeout=0.1 if fault == "stall" else 5.0)
    with pytest.raises(DataError) as caught:
        load_fred("fred", ["GDPC1"], {}, client=asking)
    error: BaseException | None = caught.value
    while error is not None:
        assert KEY not in str(error) and KEY not in repr(error) and KEY not in repr(getattr(error, "url", ""))
        error = error.__cause__ or error.__context__
    assert KEY not in "".join(traceback.format_exception(caught.value))
    fred.faults.clear()
    table = load_fred("fred", ["GDPC1"], {}, client=asking)
    said = capsys.readouterr()
    assert KEY not in said.out + said.err + caplog.text + repr(asking) + repr(table.provenance) + table.raw
    for path in tmp_path.rglob("*"):
        assert KEY not in path.name and (path.is_dir() or KEY not in path.read_text())
    assert not any("elsewhere" in request for request in fred.requests)  # a redirect is not followed with the key


def test_a_wrong_key_is_refused_without_repeating_it(fred, client):
    wrong = "f" * 32
    with pytest.raises(DataError, match="api_key is not registered") as caught:
        load_fred("fred", ["GDPC1"], {}, client=client(wrong))
    assert wrong not in str(caught.value)


def test_a_missing_key_names_the_variable_and_the_alternatives():
    with pytest.raises(DataError, match=r"FRED_API_KEY.*fred-csv.*snapshot"):
        load_series("fred", observables=US_OBSERVABLES)


@pytest.mark.parametrize(
    "source, vintage, observables, words",
    [
        ("fred-csv", VINTAGE, US_OBSERVABLES, 'the source "fred-csv" has no vintages'),
        ("snapshot", VINTAGE, US_OBSERVABLES, 'the source "snapshot" has no vintages'),
        ("fred", "February 2024", US_OBSERVABLES, "the vintage 'February 2024' is not a date"),
        ("fred-csv", "", (), "needs observables that name its series"),
        ("fred-csv", "", [Observable("y", "../x", "level")], "'../x' is not a name that FRED gives"),
    ],
)
def test_a_question_that_makes_no_sense_is_not_asked(source, vintage, observables, words):
    with pytest.raises(DataError) as caught:
        load_series(source, ".", observables, vintage)
    assert words in str(caught.value)


@pytest.mark.parametrize("series", [["GDPC1"], ["GDPC1", "FEDFUNDS"]])
def test_the_raw_series_are_a_source_themselves(client, tmp_path, series):
    table = load_fred("fred", series, {}, client=client())
    path = tmp_path / "raw.csv"
    path.write_text("# what this is\n" + table.raw)
    again = read_series(path)
    assert again.first == table.first
    for name in series:
        n = len(again.column(name))
        np.testing.assert_array_equal(again.column(name), table.column(name)[:n])
        assert np.isnan(table.column(name)[n:]).all()


def test_the_snapshot_and_its_own_figures_from_fred_make_the_same_observables(fred, client, monkeypatch):
    snapshot = load_series("snapshot")
    for name in ("GDPC1", "GDPDEF", "FEDFUNDS"):
        fred.series[name] = quarterly([repr(float(value)) for value in snapshot.column(name)], 1959)
    monkeypatch.setattr(fred_source, "FredClient", lambda key: client(key))
    monkeypatch.setenv("FRED_API_KEY", KEY)
    table = load_series("fred", observables=US_OBSERVABLES)
    a, b = (make_dataset(t, US_OBSERVABLES, "1966Q1", "2019Q4") for t in (snapshot, table))
    assert a.sha256 == b.sha256
