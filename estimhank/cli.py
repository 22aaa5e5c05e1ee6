"""The command line: ``estimhank estimate`` and its stages one by one."""

from __future__ import annotations

import dataclasses
import signal
import sys
import threading
import warnings
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn, TextIO

import typer

from estimhank import __version__
from estimhank.data import SOURCES, DataWarning
from estimhank.evaluation.engine import WorkersLost
from estimhank.evaluation.executors import BackendWarning
from estimhank.evaluation.worker import EvaluationError
from estimhank.report.pdf import find_browser, write_pdf
from estimhank.run.config import Config, load_config
from estimhank.run.config_sections import MOST_WORKERS, RunConfig
from estimhank.run.context import RunContext
from estimhank.run.doctor_verb import add_first_steps
from estimhank.run.global_verb import add_global_verb
from estimhank.run.linearity import add_linearity_verb
from estimhank.run.model_check import check_model, open_model, read_point, responses_as_csv, responses_of
from estimhank.run.new_model import TEMPLATES, write_model
from estimhank.run.open_posterior import build_target
from estimhank.run.pipeline import RunOutcome, run_pipeline
from estimhank.run.policy_verbs import add_policy_verbs
from estimhank.run.replay import replay
from estimhank.run.results import load
from estimhank.run.stages import PIPELINE
from estimhank.run.transition_verb import add_transition_verb
from estimhank.run.verbs import (
    Bands,
    BandsOption,
    HorizonOption,
    PriorBehindOption,
    ResponsesWanted,
    SizeOption,
    UnitOption,
    VariableOption,
    Wanted,
    add_verbs,
    is_run,
    show_responses,
)
from estimhank.run.verbs import OutOption as ResultOutOption
from estimhank.support.errors import ConfigError, EstimhankError, Interrupted, ModelWarning
from estimhank.support.files import expand_user, to_json
from estimhank.support.progress import ProgressDisplay, format_seconds
from estimhank.support.runtime import configure
from estimhank.support.terminal import finish_printing, of_a_file, tolerate_encodings, why_not_printed

#: What `estimhank data` prepares data for if it is not told.
DEFAULT_CONFIG = "configs/us_hank.toml"

app = typer.Typer(
    help="Bayesian estimation of HANK models with a certified neural surrogate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Backend(StrEnum):
    """Where evaluations run."""

    loky = "loky"
    dask = "dask"
    serial = "serial"
    vectorized = "vectorized"


class Form(StrEnum):
    """What a report is written as."""

    html = "html"
    pdf = "pdf"


ConfigArgument = Annotated[str, typer.Argument(metavar="CONFIG", help="TOML file, or the name of a shipped one.")]
SourceArgument = Annotated[
    str, typer.Argument(metavar="RESULTS", help="Results folder of a run, or its configuration (TOML file or name).")
]
FormatOption = Annotated[Form, typer.Option("--format", help="pdf: report.pdf too, printed by Chromium or Chrome.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Results folder; by default one under results/.")]
ProfileOption = Annotated[str, typer.Option(help="Sizes by name: smoke, default, paper, or one of the file's own.")]
WorkersOption = Annotated[
    int | None, typer.Option(min=0, max=MOST_WORKERS, help="Worker processes; 0: one for each core.")
]
BackendOption = Annotated[Backend | None, typer.Option(help="Where evaluations run.")]
SchedulerOption = Annotated[str | None, typer.Option(help="Address of a running dask scheduler.")]
SeedOption = Annotated[int | None, typer.Option(min=0, max=2**63 - 1, help="Seed of every random number.")]
SourceOption = Annotated[
    str | None,
    typer.Option("--source", help="Raw series: snapshot, fred, fred-csv, fred-cache, or a CSV or Excel file."),
]
VintageOption = Annotated[str | None, typer.Option(help='Figures of FRED as of this day, "2024-02-01".')]
UntilOption = Annotated[str | None, typer.Option(help='Last quarter of the sample, "2007Q4".')]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Begin again, replacing what is in the folder.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress.")]
CertificateOption = Annotated[
    bool, typer.Option("--require-certificate", help="End with exit code 3 if the surrogate's certificate fails.")
]


class Terminated(KeyboardInterrupt):
    """A SIGTERM, as batch systems send it before they kill: handled as an interruption."""


def terminate(number: int, frame: FrameType | None) -> NoReturn:
    """Handler of SIGTERM."""
    raise Terminated


@dataclasses.dataclass(frozen=True)
class Overrides:
    """What the command line sets over the configuration file."""

    workers: int | None = None
    backend: str | None = None
    scheduler: str | None = None
    seed: int | None = None
    until: str | None = None
    source: str | None = None
    vintage: str | None = None

    def apply(self, config: Config) -> Config:
        """The configuration with whatever is given in place of its own settings."""
        given = {name: getattr(self, name) for name in ("workers", "backend", "scheduler", "seed")}
        run: RunConfig = dataclasses.replace(config.run, **{k: v for k, v in given.items() if v is not None})
        return dataclasses.replace(config, run=run, data=dataclasses.replace(config.data, **self._data()))

    def folder(self, config: str) -> Path:
        """A results folder named after the configuration and the data that are set over its own."""
        parts = (Path(config).stem, Path(self.source or "").stem, self.vintage, self.until)
        return Path("results") / "_".join(part for part in parts if part)

    def _data(self) -> dict[str, Any]:
        given = {} if self.until is None else {"end": self.until}
        if self.source is not None:
            # a path on the command line is relative to where it is typed, one in the file to the file; a vintage or a
            # sheet in the file belongs to the source there
            source = self.source if self.source in SOURCES else str(expand_user(self.source).absolute())
            given |= {"source": source, "vintage": "", "sheet": ""}
        return given if self.vintage is None else given | {"vintage": self.vintage}


def run_command(
    config: Config, out: Path, only: str | None, resume: bool, overwrite: bool, quiet: bool = False
) -> RunOutcome:
    """Run the pipeline, or one stage, with progress on standard error."""
    out = expand_user(out)
    try:
        with ProgressDisplay(quiet=quiet) as display, RunContext(config, out, build_target, display) as context:
            return run_pipeline(context, PIPELINE, only, resume, overwrite, display.say)
    except (EvaluationError, WorkersLost):
        print(f"estimhank: `estimhank replay {out}` evaluates these parameters again:", file=sys.stderr)
        raise
    except BaseException as raised:
        stop = find_interruption(raised)
        if stop is None:
            raise
        word = "terminated" if isinstance(stop, Terminated) else "interrupted"
        error = Interrupted(f"{word}; what was evaluated is in {out}, --resume goes on from there")
        error.exit_code = 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
        raise error from None


def find_interruption(error: BaseException | None) -> KeyboardInterrupt | None:
    """The interruption that an exception is, or that it followed upon.

    A signal that arrives while a lock is being released leaves an error of the lock in the interruption's place.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


def conclude(outcome: RunOutcome, require_certificate: bool = False) -> None:
    """Say where the results are; raise what is wrong with them."""
    manifest = outcome.manifest
    if not outcome.ran:
        print(f"{outcome.folder} is up to date: nothing was computed (--overwrite computes it again)")
    else:
        files = [name for stage in outcome.ran for name in manifest.stages[stage].files]
        see = outcome.folder / ("report.html" if "report.html" in files else files[0] if files else "")
        seconds = sum(manifest.stages[stage].seconds for stage in outcome.ran)
        print(f"{', '.join(outcome.ran)}: {format_seconds(seconds)}; see {see}")
    wrong = outcome.verdict(require_certificate)
    if wrong is not None:
        raise wrong


def _add(name: str, words: str, only: str | None, config_default: Any = ...) -> None:
    """A command that runs the pipeline, or one stage of it; all have the same options."""

    def command(
        config: ConfigArgument = config_default,
        out: OutOption = None,
        profile: ProfileOption = "default",
        workers: WorkersOption = None,
        backend: BackendOption = None,
        scheduler: SchedulerOption = None,
        seed: SeedOption = None,
        until: UntilOption = None,
        source: SourceOption = None,
        vintage: VintageOption = None,
        resume: ResumeOption = False,
        overwrite: OverwriteOption = False,
        require_certificate: CertificateOption = False,
        quiet: QuietOption = False,
    ) -> None:
        overrides = Overrides(workers, backend, scheduler, seed, until, source, vintage)
        settings = overrides.apply(load_config(config, profile))
        outcome = run_command(settings, out or overrides.folder(config), only, resume, overwrite, quiet)
        conclude(outcome, require_certificate)

    command.__doc__ = words
    app.command(name)(command)


_add("estimate", f"Estimate: {', '.join(PIPELINE.names)}.", None)
for _number, _stage in enumerate(PIPELINE, 1):
    if _stage.name == "report":  # which has a form of its own
        continue
    # data may be looked at before there is a configuration
    _default = DEFAULT_CONFIG if _stage.name == "data" else ...
    _add(_stage.name, f"Stage {_number}: {_stage.help}", _stage.name, _default)


@app.command("report")
def report_command(
    source: SourceArgument,
    form: FormatOption = Form.html,
    out: OutOption = None,
    profile: ProfileOption = "default",
    workers: WorkersOption = None,
    backend: BackendOption = None,
    scheduler: SchedulerOption = None,
    seed: SeedOption = None,
    until: UntilOption = None,
    series: SourceOption = None,
    vintage: VintageOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    require_certificate: CertificateOption = False,
    quiet: QuietOption = False,
) -> None:
    """Stage 7: tables, figures and report.html, from posterior.nc; of a results folder, or of a configuration."""
    overrides = Overrides(workers, backend, scheduler, seed, until, series, vintage)
    if form == Form.pdf:
        find_browser()  # what is missing is said before anything is computed
    if is_run(source):
        if out is not None or overrides != Overrides(workers, backend, scheduler):
            raise ConfigError(f"{source} is a results folder, whose report is of its own data and seed: leave out "
                              "--out, --seed, --until, --source and --vintage")  # fmt: skip
        settings, folder = overrides.apply(load(source).config), Path(source)
    else:
        settings = overrides.apply(load_config(source, profile))
        folder = out or overrides.folder(source)
    outcome = run_command(settings, folder, "report", resume, overwrite, quiet)
    if form == Form.pdf:
        page = outcome.folder / "report.html"
        print(f"see {write_pdf(page, page.with_suffix('.pdf'))}")
    conclude(outcome, require_certificate)


@app.command("replay")
def replay_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Results folder of a run that an exception stopped.")],
) -> None:
    """Evaluate the parameters in failed_evaluation.json again, here: the value, or the traceback and exit code 5."""
    result = replay(folder, build_target)
    print("\n".join(result.lines()))
    if result.evaluation is None:
        raise typer.Exit(EvaluationError.exit_code)


ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A shipped model's name, file.py:Class, or a configuration.")
]
ModelOrRunArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="Results folder of a run; or a shipped model's name, file.py:Class, or a configuration."
    ),
]
AtOption = Annotated[Path | None, typer.Option("--at", help='JSON file of parameter values, {"phi_pi": 1.5}.')]
JsonOption = Annotated[bool, typer.Option("--json", help="Plain numbers on standard output.")]


@app.command("check")
def check_command(model: ModelArgument, at: AtOption = None, as_json: JsonOption = False) -> None:
    """Solve a model and say what it is: steady state, residuals, determinacy, unused parameters, times."""
    found = check_model(open_model(model, read_point(at) if at else None))
    print(to_json(found.to_dict()) if as_json else "\n".join(found.lines()))


@app.command("responses")
def responses_command(
    model: ModelOrRunArgument,
    at: AtOption = None,
    horizon: HorizonOption = 40,
    size: SizeOption = None,
    unit_of: UnitOption = None,
    variable: VariableOption = None,
    prior: PriorBehindOption = False,
    bands: BandsOption = Bands.EQUAL,
    out: ResultOutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Responses to shocks: of a run with bands; of a model of all variables, as deviations from the steady state."""
    if is_run(model) or size is not None or unit_of or variable or out or prior:
        of = ResponsesWanted(horizon, size, unit_of, prior)
        show_responses(model, at, variable, of, Wanted(out, as_json, bands))
        return
    found = responses_of(open_model(model, read_point(at) if at else None), horizon)
    print(to_json(found) if as_json else "\n".join(responses_as_csv(found)))


add_verbs(app)
add_policy_verbs(app)
add_transition_verb(app)
add_linearity_verb(app)
add_global_verb(app)
add_first_steps(app)


@app.command("init")
def init_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the folder that is made, the model and its class.")],
    template: Annotated[
        str, typer.Option("--from", help=f"What it begins with: {', '.join(TEMPLATES)}.")
    ] = "one_asset",
) -> None:
    """Write a model of your own: model file, configuration, data, page and test, which run as they are."""
    written = write_model(name, template)
    print("\n".join(str(path) for path in written))
    print(f"next: cd {name} && estimhank check {name}.toml")


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Doubts about the data and what runs elsewhere as one sentence; other warnings as ever."""
    if issubclass(category, DataWarning | BackendWarning | ModelWarning):
        print(f"estimhank: warning: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


def main() -> NoReturn:
    """Entry point: what the user can put right is one sentence on standard error and an exit code.

    Exit codes: 0 done or up to date; 1 nobody reads what it prints; 2 bad input; 3 a required certificate failed; 4 the
    exact posterior has not converged, or a nonlinear path has not; 5 an evaluation raised or workers died; 6 the doctor
    found a fault; 130 interrupted, 143 terminated.
    """
    tolerate_encodings()
    warnings.showwarning = show_warning
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)
    code: Any = 0
    unprinted: OSError | None = None
    try:
        if sys.argv[1:2] != ["doctor"]:  # which says what keeps this from being done
            configure()
        app()
    except SystemExit as ended:
        code = ended.code
    except (EstimhankError, OSError) as raised:
        unprinted = None if isinstance(raised, EstimhankError) else why_not_printed("\n")
        if unprinted is None:
            error = of_a_file(raised)
            print(f"estimhank: {error.cited}", file=sys.stderr)
            code = error.exit_code
    sys.exit(finish_printing(unprinted) or code)


if __name__ == "__main__":
    main()
