"""``estimhank transition``: nonlinear paths from the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from estimhank.run.model_check import read_point
from estimhank.run.results import load
from estimhank.run.transition import HOW, open_economy, read_path, read_state, transition
from estimhank.run.verbs import AtOption, JsonOption, OutOption, is_run
from estimhank.support.errors import ConfigError, TransitionError
from estimhank.support.files import expand_user, make_folder, to_json, write_bytes, write_json, write_text

if TYPE_CHECKING:
    from estimhank.transition.solve import TransitionPath

Array = NDArray[np.float64]


def as_csv(paths: Mapping[str, Array], dates: Sequence[str] = ()) -> list[str]:
    """Paths as the lines of a long table: variable, date, level."""
    rows = ["variable,date,level"]
    for name, path in paths.items():
        rows += [f"{name},{date},{float(value)!r}" for date, value in zip(dates or range(len(path)), path, strict=True)]
    return rows


def read_shocks(given: Sequence[str]) -> tuple[dict[str, str], dict[int, dict[str, str]]]:
    """Paths that are known at date 0, and surprises by date, of ``z=0.01*0.8^t`` and ``z@4=0.01*0.8^t``.

    Raises
    ------
    ConfigError
    """
    known: dict[str, str] = {}
    surprises: dict[int, dict[str, str]] = {}
    for text in given:
        name = read_path(text, 1)[0]
        shock, at, date = (part.strip() for part in name.partition("@"))
        if at and not (date.isdigit() and int(date) > 0):
            raise ConfigError(f"the shock '{text}' is a surprise at no date: write {shock}@4=..., of date 4")
        own = surprises.setdefault(int(date), {}) if at else known
        if shock in own:
            raise ConfigError(f"the shock '{name}' is given twice: add the two paths up")
        own[shock] = text.partition("=")[2]
    return known, surprises


def in_words(binds: Mapping[str, Array], dates: Sequence[str]) -> list[str]:
    """At how many dates a bound binds, and at which."""
    lines = []
    for name, at in binds.items():
        which = [int(date) for date in np.flatnonzero(at)]
        spans, begin = [], which[0]
        for here, following in zip(which, [*which[1:], -1], strict=True):
            if following != here + 1:
                spans.append(dates[begin] if begin == here else f"{dates[begin]} to {dates[here]}")
                begin = following
        lines.append(f"'{name}' is at its bound at {len(which)} of {len(at)} dates: {', '.join(spans)}")
    return lines


def add_transition_verb(app: typer.Typer) -> None:
    """The command of this module."""

    @app.command("transition")
    def transition_command(
        source: Annotated[
            str,
            typer.Argument(
                metavar="MODEL",
                help="Results folder of a run (at its mode); or a model's name, file.py:Class, a configuration.",
            ),
        ],
        shock: Annotated[
            list[str] | None,
            typer.Option("--shock", help=f"Path of a process: {HOW}; z@4=...: a surprise at date 4. May be repeated."),
        ] = None,
        at: AtOption = None,
        start: Annotated[
            Path | None,
            typer.Option(
                "--from",
                help="Where it begins: JSON of parameter values that held before date 0; or NPZ of levels and "
                "'distribution'.",
            ),
        ] = None,
        smoothed: Annotated[
            str | None, typer.Option(help="Of a run, in place of shocks: its smoothed ones, 2008Q1:2015Q4.")
        ] = None,
        without: Annotated[
            list[str] | None, typer.Option(help="Smoothed shock that is left out: m, or m@2008Q4, from there on.")
        ] = None,
        model: Annotated[str | None, typer.Option(help="Of a run: another model, file.py:Class, at its mode.")] = None,
        horizon: Annotated[int | None, typer.Option(help="Dates; the configuration's by default.")] = None,
        out: OutOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Nonlinear paths under perfect foresight: levels of all variables after shocks, bounds included."""
        at_mode = at is not None and str(at) == "mode" and not at.exists()
        if at_mode and not is_run(source):
            raise ConfigError(f"{source} is not the results folder of a run and has no mode: give --at a file")
        dates: Sequence[str] = ()
        linear: Mapping[str, Array] = {}
        if smoothed is not None:
            if shock or start or at or horizon or not is_run(source):
                raise ConfigError("--smoothed takes the results folder of a run, and neither shocks nor --at or --from")
            first, _, last = smoothed.partition(":")
            names, begins = _left_out(without or [])
            told = load(source).retell(first, last or first, model, names, begins)
            found, dates, linear = told.path, told.dates, told.linear
            title = f"{source}: the smoothed shocks, each a surprise, {first} to {last or first}"
        else:
            if without:
                raise ConfigError("--without goes with --smoothed")
            known, surprises = read_shocks(shock or [])
            if not known and not surprises and start is None:
                raise ConfigError(f"nothing happens: give --shock ({HOW}), --from or, of a run, --smoothed")
            point = read_point(at) if at and not at_mode else None
            begin = None if start is None else read_state(start, source, point, horizon, model)
            found = transition(source, dict(known), point, horizon, begin, dict(surprises), model)
            title = f"{source} after {', '.join(shock or ['a permanent change'])}"
            if found.converged and start is None and (out or (is_run(source) and not as_json)):
                linear = _linear(source, known, surprises, point, horizon, model)
        dates = dates or [str(date) for date in range(len(next(iter(found.paths.values()), ())))]
        if as_json:
            print(to_json({**found.to_dict(), **({"dates": list(dates)} if smoothed else {})}))
        elif found.converged and not (out or is_run(source)):
            print("\n".join(as_csv(found.paths)))
        if found.failure is not None:
            raise TransitionError(f"no path ({found.reason}): {found.failure.message}")
        if out or (is_run(source) and not as_json):
            folder = make_folder(expand_user(out) if out else expand_user(source) / "transition")
            _write(folder, found, linear, title, dates if smoothed else ())
            if not as_json:
                print(f"{title}: {found.iterations} steps, residual {found.residual:.1e}")
                for line in in_words(found.binds, dates):
                    print(line)
                print(f"see {folder / 'transition.png'} and .csv")


def _left_out(given: Sequence[str]) -> tuple[list[str], str]:
    names, begins = [], set()
    for text in given:
        name, _, date = text.partition("@")
        names.append(name)
        begins.add(date)
    if len(begins) > 1:
        raise ConfigError("shocks are left out from one quarter on: give all the same")
    return names, next(iter(begins), "")


def _linear(
    source: str,
    known: Mapping[str, str],
    surprises: Mapping[int, Mapping[str, str]],
    point: Mapping[str, float] | None,
    horizon: int | None,
    model: str | None,
) -> dict[str, Array]:
    """The linear solution for the same shocks, in levels."""
    from estimhank.transition.surprises import linear_surprises

    economy = open_economy(source, point, horizon, model)
    long = economy.horizon + economy.horizon // 2
    added = {
        date: economy.forcing({name: read_path(f"{name}={path}", long)[1] for name, path in shocks.items()})
        for date, shocks in {0: known, **surprises}.items()
    }
    moves = linear_surprises(economy, added, economy.horizon)
    return {name: float(economy.steady.values[name]) + moves[name] for name in economy.declared.unknowns}


def _write(folder: Path, found: TransitionPath, linear: Mapping[str, Array], title: str, dates: Sequence[str]) -> None:
    from estimhank.report.figures_transition import transition_figure

    figure: Any = transition_figure(found.paths, linear, found.binds, title, dates)
    write_text(folder / "transition.csv", "\n".join(as_csv(found.paths, dates)) + "\n")
    write_json(folder / "transition.json", {**found.to_dict(), "caption": figure.caption})
    write_bytes(folder / "transition.png", figure.to_png())
