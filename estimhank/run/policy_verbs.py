"""Commands on a finished run: scenario, counterfactual, news, moments, evidence, identification, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from estimhank.run.config import load_config
from estimhank.run.model_check import read_point
from estimhank.run.results import Run, load
from estimhank.run.verbs import (
    AtOption,
    Bands,
    BandsOption,
    HorizonOption,
    JsonOption,
    OutOption,
    SourceArgument,
    VariableOption,
    Wanted,
    conclude,
    conclude_all,
    is_run,
    open_study,
    word_of,
)
from estimhank.support.errors import ConfigError
from estimhank.support.files import expand_user, make_folder, to_json, to_plain, write_bytes, write_text

if TYPE_CHECKING:  # which a command loads when it is called
    import pandas as pd

    from estimhank.report.style import ReportFigure
    from estimhank.report.tables import Table

PlanArgument = Annotated[Path, typer.Argument(metavar="PLAN", help="TOML file of a scenario or a counterfactual.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RESULTS", help="Results folder of a run.")]
PriorOption = Annotated[
    int, typer.Option("--prior-draws", min=0, help="Prior draws at which the model is solved; 0 for none.")
]


class Statement(Protocol):
    """What is said of a whole run: not a path over dates."""

    def table(self) -> pd.DataFrame:
        """Figures by row."""
        ...

    def summary(self) -> str:
        """In words."""
        ...


def add_policy_verbs(app: typer.Typer) -> None:
    """The commands of this module."""

    @app.command("scenario")
    def scenario_command(
        source: SourceArgument,
        plan: PlanArgument,
        at: AtOption = None,
        variable: VariableOption = None,
        bands: BandsOption = Bands.EQUAL,
        out: OutOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Forecast under conditions: by whatever is likeliest, or by chosen shocks, surprises or announced."""
        from estimhank.economics.conditions import ScenarioPlan, read_plan
        from estimhank.run.policies import run_scenario

        found = run_scenario(
            read_plan(plan, ScenarioPlan), lambda names: open_study(source, at, _list(names)), variable
        )
        conclude("scenario", source, found, (), Wanted(out, as_json, bands))

    @app.command("counterfactual")
    def counterfactual_command(
        source: SourceArgument,
        plan: PlanArgument,
        at: AtOption = None,
        variable: VariableOption = None,
        bands: BandsOption = Bands.EQUAL,
        out: OutOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """The same shocks under another policy: other parameters, or a rule by announcements."""
        from estimhank.economics.conditions import read_plan
        from estimhank.economics.counterfactual import CounterfactualPlan
        from estimhank.run.policies import run_counterfactual

        config = load(source).config if is_run(source) else load_config(source)
        read = read_plan(plan, CounterfactualPlan)
        found = run_counterfactual(read, config, lambda names: open_study(source, at, _list(names)), variable)
        conclude("counterfactual", source, found, (), Wanted(out, as_json, bands))

    @app.command("households")
    def households_command(
        source: SourceArgument,
        at: AtOption = None,
        horizon: HorizonOption = 40,
        output: Annotated[
            list[str] | None, typer.Option("--output", help="Shown by group in place of consumption.")
        ] = None,
        bands: BandsOption = Bands.EQUAL,
        out: OutOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Who responds, and to what: consumption by group of households, inequality, direct and indirect effects."""
        study = open_study(source, at, None, of_data=False)
        found = (study.household_responses(horizon, output), study.direct_and_indirect(horizon))
        conclude_all("households", source, found, (), Wanted(out, as_json, bands))

    @app.command("news")
    def news_command(
        folder: RunArgument,
        other: Annotated[Path, typer.Argument(metavar="NEW", help="Results folder on new data, or their data.csv.")],
        at: AtOption = None,
        variable: VariableOption = None,
        quarters: Annotated[int, typer.Option(min=0, max=36, help="Quarters beyond the new data.")] = 8,
        bands: BandsOption = Bands.EQUAL,
        out: OutOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Why forecasts change with new data: revisions, news by datum, re-estimation."""
        new: Any = load(other) if is_run(str(other)) else other
        found = load(folder).news(new, quarters, _point(at), variable)
        conclude("news", str(folder), found, (), Wanted(out, as_json, bands))

    @app.command("moments")
    def moments_command(
        folder: RunArgument,
        prior_draws: PriorOption = 500,
        at: AtOption = None,
        out: OutOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Predictive check: moments of the data against those of samples that posterior and prior make."""
        conclude(
            "moments", str(folder), load(folder).predictive_check(prior_draws, _point(at)), (), Wanted(out, as_json)
        )

    @app.command("evidence")
    def evidence_command(
        folder: RunArgument,
        prior_draws: PriorOption = 2_000,
        evaluations: Annotated[
            int, typer.Option(min=0, help="Exact evaluations for a further bridge that does without the surrogate.")
        ] = 0,
        out: OutOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Log marginal likelihood by bridge sampling, with its error and what stands beside it."""
        from estimhank.report.figures_policy import evidence_figure

        found = load(folder).evidence(prior_draws, evaluations)
        _state("evidence", folder, found, evidence_figure(found), f"estimhank compare {folder} OTHER", out, as_json)

    @app.command("identification")
    def identification_command(
        folder: RunArgument, at: AtOption = None, out: OutOption = None, as_json: JsonOption = False
    ) -> None:
        """What the data tell about the parameters: moments, spectrum, information, posterior against prior."""
        from estimhank.report.figures_policy import identification_figure

        run = load(folder)
        point = run.mode["theta"] if _point(at) == "mode" else _point(at)
        found = run.identification(point)
        figure = identification_figure(found)
        _state("identification", folder, found, figure, f"estimhank moments {folder}", out, as_json)

    @app.command("compare")
    def compare_command(
        folders: Annotated[list[Path], typer.Argument(metavar="A B", help="Results folders on the same data.")],
        prior_draws: PriorOption = 2_000,
        out: OutOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Models of the same data by their marginal likelihoods."""
        from estimhank.run.comparison import comparison_figure

        if len(folders) < 2:
            raise ConfigError("compare takes two results folders or more")
        runs: list[Run] = [load(folder) for folder in folders]
        found = runs[0].compare(*runs[1:], prior_draws=prior_draws)
        figure = comparison_figure(found)
        _state("compare", folders[0], found, figure, f"estimhank evidence {folders[0]}", out, as_json)


def _list(names: Any) -> list[str] | None:
    return None if names is None else list(names)


def _point(at: Path | None) -> Any:
    return None if at is None else word_of(at) or read_point(at)


def _as_netcdf(verb: str, frame: pd.DataFrame) -> bytes:
    """A netCDF file with a data frame as a group, by its first column."""
    import xarray as xr

    tree = xr.DataTree.from_dict({f"/{verb}": frame.set_index(frame.columns[0]).to_xarray()})
    content = tree.to_netcdf(None, engine="h5netcdf")
    assert content is not None  # bytes, where no path is given
    return bytes(content)


def _as_table(verb: str, frame: pd.DataFrame) -> Table:
    """A data frame, for print."""
    from estimhank.report.tables import Column, Table

    def number(value: Any) -> str:
        return "–" if value != value else f"{value:.3f}"  # nan is not equal to itself

    kinds = {str(name): kind.kind for name, kind in frame.dtypes.items()}
    columns = [
        Column(name, name.replace("_", " "), format=number if kind in "fi" else None) for name, kind in kinds.items()
    ]
    return Table(verb, f"{verb}.", tuple(columns), tuple(frame.itertuples(index=False, name=None)))


def _state(
    verb: str,
    source: Path,
    found: Statement,
    figure: ReportFigure,
    following: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Print a statement, or write its files and say what to open."""
    table = found.table()
    if as_json:
        rows = [{k: v for k, v in row.items() if v == v} for row in table.to_dict("records")]  # without nan
        print(to_json(to_plain({"summary": found.summary().splitlines(), "rows": rows})))
        if out is None:
            return
    folder = make_folder(expand_user(out) if out else expand_user(source) / verb)
    write_text(folder / f"{verb}.csv", table.to_csv(index=False, lineterminator="\n"))
    write_text(folder / f"{verb}.tex", _as_table(verb, table).to_latex())
    write_bytes(folder / "results.nc", _as_netcdf(verb, table))
    write_bytes(folder / f"{verb}.png", figure.to_png())
    write_bytes(folder / f"{verb}.svg", figure.to_svg())
    if not as_json:
        print(found.summary())
        print(f"see {folder / verb}.png and .csv; next: {following}")
