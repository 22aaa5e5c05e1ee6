"""How far off the linear solution of a finished run is: ``run.linearity()``, ``estimhank linearity RUN``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from estimhank.economics.draws import ReducedDraws
from estimhank.economics.linearity import History, Linearity
from estimhank.evaluation.engine import Engine
from estimhank.posterior.posterior import Posterior
from estimhank.run.results import load
from estimhank.run.retold import BEFORE, smoothed_innovations
from estimhank.run.transition import economy_at, economy_of, open_at
from estimhank.run.verbs import JsonOption, OutOption
from estimhank.support.errors import ConfigError
from estimhank.support.files import expand_user, to_json, to_plain

if TYPE_CHECKING:
    from estimhank.run.results import Run
    from estimhank.transition.economy import Economy
    from estimhank.transition.linearity import Departures, Retold

Array = NDArray[np.float64]

SIZES = (1.0, 2.0, 5.0)
#: Draws of one call of a worker: enough that what is compiled for it does not count.
_TOGETHER = 10
#: Draws that this process answers as fast as workers start.
_HERE = 2


def linearity_of(
    run: Run, draws: int = 100, sizes: Sequence[float] = SIZES, histories: int = 1, workers: int = 0
) -> Linearity:
    """The linear solution of a run against the nonlinear one, at draws of its posterior.

    Parameters
    ----------
    run : Run
    draws : int
        At even distances among those of the exact posterior: responses.
    sizes : sequence of float
        Of shocks, in standard deviations; both signs.
    histories : int
        How many times the data's own smoothed shocks are told again: once at the mode, several times at draws, never
        with 0. Each shock is a surprise at its date, as it is in the estimation, and what follows is foreseen; one
        history takes a nonlinear path for each quarter.
    workers : int
        Processes, one for each core with 0.

    Raises
    ------
    ConfigError
        Sizes or numbers that are not above zero.
    """
    from estimhank.transition.linearity import series_of

    _check(draws, sizes, histories)
    posterior = run.posterior
    economy = economy_of(open_at(str(run.folder), None))
    theta = _thinned(posterior, run, draws)
    shares = [theta[i : i + _TOGETHER] for i in range(0, len(theta), _TOGETHER)]
    points, innovations = _smoothed(run, histories)
    few = workers == 1 or (draws <= _HERE and histories == 0)
    with Engine(posterior, "serial" if few else "loky", workers) as engine:
        # the longest first
        calls = [(economy, "history", point, own) for point, own in zip(points, innovations, strict=True)]
        calls += [(economy, "responses", share, np.array(sizes)) for share in shares]
        found = engine.map_target(_answer, calls)
    told, by_share = found[: len(points)], found[len(points) :]
    every: list[Departures] = [one for share in by_share for one in share]
    reasons = Counter(reason for one in every for reason in one.reasons)
    observed = economy.model.observed_variables
    names = series_of(economy)
    units = {o.name: o.units for o in observed}
    return Linearity(
        posterior.model.name,
        f"{len(theta):,} draws from the posterior",
        {s.name: s.description or s.name for s in economy.innovations},
        tuple(float(size) for size in sizes),
        {name: units.get(name, "model units") for name in names},
        len(observed),
        off=np.stack([one.off for one in every]),
        asymmetry=np.stack([one.asymmetry for one in every]),
        linear=np.stack([one.linear for one in every]),
        nonlinear=np.stack([one.nonlinear for one in every]),
        reasons=dict(reasons),
        history=_history(run, economy, told, points, innovations) if histories else None,
    )


def _answer(posterior: Posterior, economy: Economy, what: str, given: Array, more: Array) -> list[Departures] | Retold:
    """What a worker does: responses at a few draws (n, d), or a history (dates, n_z) at one."""
    from estimhank.transition.linearity import departures, retell

    if what == "history":
        return retell(economy_at(economy, posterior, given), more)
    return [departures(economy_at(economy, posterior, theta), more.tolist()) for theta in given]


def _check(draws: int, sizes: Sequence[float], histories: int) -> None:
    if draws < 1 or histories < 0 or not sizes or not all(np.isfinite(s) and s > 0 for s in sizes):
        raise ConfigError("linearity takes at least one draw, and sizes of shocks above zero, in standard deviations")
    if len(set(sizes)) < len(sizes):
        raise ConfigError("a size is given twice: leave one out")


def _thinned(posterior: Posterior, run: Run, draws: int) -> Array:
    from estimhank.analysis.inference_data import draws_of

    return ReducedDraws.thinned(posterior, draws_of(run.draws, "posterior", posterior.names), draws).theta


def _smoothed(run: Run, histories: int) -> tuple[list[Array], list[Array]]:
    """Points (d,), and their smoothed innovations from ``BEFORE`` quarters before the sample on, (dates, n_z)."""
    if not histories:
        return [], []
    posterior = run.posterior
    theta = posterior.to_array(run.mode["theta"])[None] if histories == 1 else _thinned(posterior, run, histories)
    return list(theta), list(smoothed_innovations(run, theta))


def _history(
    run: Run, economy: Economy, told: Sequence[Retold], points: Sequence[Array], innovations: Sequence[Array]
) -> History:
    from estimhank.transition.linearity import linear_history

    # responses of the first shocks are wanted at the last dates, away from the end of a horizon
    horizon = len(innovations[0]) + economy.horizon // 2
    at_mode = open_at(str(run.folder), None)
    posterior = Posterior(at_mode.model, at_mode.data, horizon, at_mode.tail_start)
    long = economy_of(posterior)
    linear = np.stack([
        linear_history(economy_at(long, posterior, theta), own)[BEFORE:]
        for theta, own in zip(points, innovations, strict=True)
    ])  # fmt: skip
    bent = np.stack([one.path[BEFORE:] for one in told])
    names = [o.name for o in economy.model.observed_variables]
    kept = [i for i, n in enumerate(names) if n in run.data.names]
    data = np.asarray(run.data.values)[:, [run.data.names.index(names[i]) for i in kept]]
    gaps = linear[:, :, kept] - data
    gaps = gaps - np.nanmean(gaps, axis=1, keepdims=True)
    missed = float(np.nanmax(np.abs(gaps) / np.nanstd(data, axis=0)))
    origin = "mode" if len(told) == 1 else "posterior"
    return History(tuple(run.data.dates), origin, linear, bent, missed, tuple(one.reason for one in told))


def add_linearity_verb(app: typer.Typer) -> None:
    """The command of this module."""

    @app.command("linearity")
    def linearity_command(
        folder: Annotated[Path, typer.Argument(metavar="RESULTS", help="Results folder of a run.")],
        draws: Annotated[int, typer.Option(help="Posterior draws of the responses.")] = 100,
        size: Annotated[
            list[float] | None, typer.Option("--size", help="Of shocks, in standard deviations; 1, 2 and 5 by default.")
        ] = None,
        histories: Annotated[
            int, typer.Option(help="Times the data's own shocks are told again: 1 at the mode, more at draws, or 0.")
        ] = 1,
        workers: Annotated[int, typer.Option(help="Processes; 0: one for each core.")] = 0,
        out: OutOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """How far off the linear solution is: responses of several sizes and both signs, and the data's own shocks."""
        from estimhank.report.linearity import draws_digest, write_linearity

        run = load(folder)
        found = run.linearity(draws, tuple(size) if size else SIZES, histories, workers)
        if as_json:
            print(to_json(to_plain(found.to_dict())))
            if out is None:
                return
        target = expand_user(out) if out else run.folder / "linearity"
        from estimhank.analysis.inference_data import draws_of

        write_linearity(found, target, draws_digest(draws_of(run.draws, "posterior", run.posterior.names)))
        if not as_json:
            print(found.summary())
            print(f"see {target / 'linearity.png'} and .csv; the report shows them when it is written again")
