"""Results from the command line: ``estimhank forecast results/us_hank``, nothing estimated again.

A verb takes a results folder, with bands over its posterior draws, or a configuration, at one parameter vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from estimhank.model.registry import BUILT_IN
from estimhank.run.config import load_config
from estimhank.run.config_sections import EconomicsConfig
from estimhank.run.model_check import open_model, read_point
from estimhank.run.results import load
from estimhank.support.errors import ConfigError
from estimhank.support.files import expand_user, to_json, to_plain, write_bytes

if TYPE_CHECKING:  # which a command loads when it is called
    from estimhank.economics.result import Result
    from estimhank.economics.study import Study

SourceArgument = Annotated[
    str, typer.Argument(metavar="RESULTS", help="Results folder of a run, or a configuration (one parameter vector).")
]
AtOption = Annotated[
    Path | None,
    typer.Option("--at", help='JSON file of parameter values, {"phi_pi": 1.5}, or a word: mode, or prior (its draws).'),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Plain numbers on standard output, no files.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder for files, by default one in the results folder.")
]
VariableOption = Annotated[
    list[str] | None, typer.Option("--variable", help='Shown beside the observables: "Y", "log Y", "growth Y".')
]
HorizonOption = Annotated[int, typer.Option(help="Quarters, from the impact on.")]
SizeOption = Annotated[
    float | None, typer.Option(help="Size of the shocks, in the units of their standard deviations' parameters.")
]
UnitOption = Annotated[str | None, typer.Option("--unit-of", help="Shocks that move this series by one on impact.")]


class Bands(StrEnum):
    """Kinds of bands, by the words of :data:`estimhank.economics.bands.SHORT`."""

    EQUAL = "equal"
    HDI = "hdi"
    SIMULTANEOUS = "simultaneous"


BandsOption = Annotated[
    Bands, typer.Option("--bands", help="Equal-tailed, shortest (hdi), or simultaneous over horizons (sup-t).")
]
PriorBehindOption = Annotated[bool, typer.Option("--prior", help="Those of the prior's draws behind, in grey.")]
QuartersOption = Annotated[int | None, typer.Option(min=1, help="Quarters ahead.")]

#: What to look at after a result; in capitals what a user has to give.
_NEXT = {
    "responses": "variance {}",
    "variance": "history {}",
    "history": "smooth {}",
    "smooth": "scores {}",
    "scores": "forecast {}",
    "forecast": "scenario {} PLAN.toml (docs/scenarios.md)",
    "scenario": "counterfactual {} PLAN.toml (docs/scenarios.md)",
    "counterfactual": "evidence {}",
    "news": "forecast {}",
    "moments": "identification {}",
    "households": "responses {}",
}


@dataclass(frozen=True)
class Wanted:
    """Where a result goes, and with what bands.

    Attributes
    ----------
    out : path, optional
        Folder for files; by default one of the verb's name in the results folder.
    json : bool
        Plain numbers on standard output, files only into ``out``.
    bands : Bands
    """

    out: Path | None = None
    json: bool = False
    bands: Bands = Bands.EQUAL


def is_run(source: str) -> bool:
    """Whether a command is given the results folder of a run."""
    return (expand_user(source) / "manifest.json").is_file()


def open_study(source: str, at: Path | None, variables: list[str] | None, of_data: bool = True) -> Study:
    """Results of a run's folder, or of a configuration at one parameter vector.

    Parameters
    ----------
    source : str
    at : path, optional
        File of parameter values, or ``mode``.
    variables : list of str, optional
    of_data : bool
        Whether what is asked for depends on data.

    Raises
    ------
    ConfigError, ResultsError, ModelError
    """
    word = word_of(at)
    from estimhank.run.economics import study_of

    if is_run(source):
        point: Any = word or (read_point(at) if at else None)
        return load(source).study(point, variables)
    if word:
        what = "mode" if word == "mode" else "draws of the prior"
        raise ConfigError(f"{source} is not the results folder of a run and has no {what}: give --at a file of values")
    if of_data and (source in BUILT_IN or ".py:" in source):
        raise ConfigError(f"{source} is a model without data: give a results folder or a configuration")
    posterior = open_model(source, read_point(at) if at else None)
    settings = EconomicsConfig() if source in BUILT_IN or ".py:" in source else load_config(source).economics
    return study_of(posterior, settings, variables=variables)


def word_of(at: Path | None) -> str:
    """``mode`` or ``prior``, where a point is given so and is not a file; else empty."""
    return str(at) if at is not None and str(at) in ("mode", "prior") and not at.exists() else ""


def as_json(result: Result, array: str = "response") -> dict[str, Any]:
    """Plain values: of responses by shock, variable and quantile, of other results a list of rows."""
    if result.name == "responses":
        if "prior" in result.dataset and array == "response":
            return {"posterior": as_json(result, ""), "prior": as_json(result, "prior")}
        data = result.dataset[array or "response"]
        return {
            shock: {
                name: {
                    f"{q:g}": data.sel(shock=shock, variable=name, quantile=q).values.tolist()
                    for q in data["quantile"].values
                }
                for name in result.about.names
            }
            for shock in result.about.shocks
        }
    table = result.table()
    rows = [{k: v for k, v in row.items() if v == v} for row in table.to_dict("records")]  # nan is not equal to itself
    return {"summary": result.summary().splitlines(), "units": str(result.draws.attrs.get("units", "")), "rows": rows}


def conclude(verb: str, source: str, result: Result, notes: tuple[str, ...], wanted: Wanted) -> None:
    """Print a result, or write its files and say what to open."""
    conclude_all(verb, source, (result,), notes, wanted)


def conclude_all(verb: str, source: str, results: Sequence[Result], notes: tuple[str, ...], wanted: Wanted) -> None:
    """The same of several results, which as JSON are by name."""
    from estimhank.report.economics_files import write_results

    results = [result.with_bands(wanted.bands) for result in results]
    out = wanted.out
    if wanted.json:
        plain = {result.name: as_json(result) for result in results}
        print(to_json(to_plain(plain if len(results) > 1 else plain[results[0].name])))
    elif out is None and not is_run(source):
        for result in results:
            print(result.table().to_csv(index=False), end="")
    if out is None and (wanted.json or not is_run(source)):
        return
    folder = expand_user(out) if out else expand_user(source) / verb
    write_results({result.name: result for result in results}, folder, svg=True)
    for result in results:
        _with_prior(result, folder)
    if wanted.json:
        return
    for result in results:
        print(result.summary())
    for note in notes:
        print(f"note: {note}")
    for result in results:
        for words, gap in result.check().items():
            print(f"checked {words}: to {gap:.1e}")
    print(f"see {folder / results[0].name}.png and .csv; next: estimhank {_NEXT[verb].format(source)}")


def _with_prior(result: Result, folder: Path) -> None:
    """The figure of responses once more, with the prior's behind where there are any."""
    from estimhank.economics.responses import Responses
    from estimhank.report.figures_economics import economics_figure

    if isinstance(result, Responses) and result.prior is not None:
        drawn = economics_figure(result, behind=result.prior.with_bands(result.kind)).drawn(True)
        write_bytes(folder / f"{result.name}.png", drawn.png)
        write_bytes(folder / f"{result.name}.svg", drawn.svg or b"")


def _add(app: typer.Typer, verb: str, words: str, compute: Callable[[Study], Result]) -> None:
    """A verb without options of its own."""

    def command(
        source: SourceArgument,
        at: AtOption = None,
        variable: VariableOption = None,
        bands: BandsOption = Bands.EQUAL,
        out: OutOption = None,
        as_json: JsonOption = False,
    ) -> None:
        study = open_study(source, at, variable)
        conclude(verb, source, compute(study), study.notes, Wanted(out, as_json, bands))

    command.__doc__ = words
    app.command(verb)(command)


#: Verbs that take no more than a study.
PLAIN: Mapping[str, tuple[str, Callable[[Study], Result]]] = {
    "variance": (
        "Variance decomposition: what accounts for how much of each series, by horizon and at business cycles.",
        lambda study: study.variance_decomposition(),
    ),
    "smooth": ("Shocks given all data, in the sample and before it.", lambda study: study.smooth()),
    "history": ("Historical decomposition: contributions of shocks to each series, by date.",
                lambda study: study.historical_decomposition()),
    "scores": ("Forecast errors one quarter ahead, and log scores by date.", lambda study: study.one_step()),
}  # fmt: skip


def add_verbs(app: typer.Typer) -> None:
    """The commands that work on a finished run."""
    for verb, (words, compute) in PLAIN.items():
        _add(app, verb, words, compute)

    @app.command("forecast")
    def forecast_command(
        source: SourceArgument,
        at: AtOption = None,
        variable: VariableOption = None,
        quarters: QuartersOption = None,
        bands: BandsOption = Bands.EQUAL,
        out: OutOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Density forecasts: median and fans, with all uncertainty."""
        study = open_study(source, at, variable)
        conclude("forecast", source, study.forecast(quarters), study.notes, Wanted(out, as_json, bands))


@dataclass(frozen=True)
class ResponsesWanted:
    """What responses are asked for (:meth:`estimhank.economics.study.Study.responses`).

    Attributes
    ----------
    horizon : int
    size : float, optional
    unit_of : str, optional
    prior : bool
        Those of the prior's draws too.
    """

    horizon: int = 40
    size: float | None = None
    unit_of: str | None = None
    prior: bool = False


def show_responses(
    source: str, at: Path | None, variables: list[str] | None, of: ResponsesWanted, wanted: Wanted
) -> None:
    """Responses with bands, of ``estimhank responses RESULTS``.

    Raises
    ------
    ConfigError
        The prior's responses of what is no run.
    """
    if of.prior and not is_run(source):
        raise ConfigError(
            f"{source} is not the results folder of a run and has no draws of the prior: leave out --prior"
        )
    study = open_study(source, at, variables, of_data=False)
    found = study.responses(of.horizon, of.size, of.unit_of)
    if of.prior:
        found = found.with_prior(load(source).study("prior", variables).responses(of.horizon, of.size, of.unit_of))
    conclude("responses", source, found, (), wanted)
