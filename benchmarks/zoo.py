"""The zoo: whole runs on targets whose truth is known, each right within Monte Carlo error, or refused.

Run by ``make zoo``. Every target goes the way of a stranger's density (:func:`estimhank.from_log_density`,
:func:`estimhank.estimate_density`, the default profile): mode search, sampling, surrogate, exact stage. Its means,
standard deviations, quantiles and tail masses are compared with the truth as z-scores. A run is

* *right* if it says that it has converged and no figure is more than :data:`LIMIT` standard errors off,
* *refused* if it says that it has not converged, or raises an error that says why,
* *WRONG AND PROUD* otherwise. There must be none.

A mode that no start could see is not refused: no sampler finds every needle. Such a target
(:attr:`Animal.searched`) is compared with the part of it that was searched, and must say in words what that was.

Results go to ``results/zoo``: a folder for each target, ``zoo.csv``, and ``zoo.md``.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from benchmarks import known_targets as known
from benchmarks.known_targets import KnownTarget
from benchmarks.pages import write_made
from estimhank import estimate_density, from_log_density
from estimhank.run.config import make_config
from estimhank.run.density_run import DensityRun
from estimhank.sampling.diagnostics import ess
from estimhank.support.errors import EstimhankError
from estimhank.support.files import make_folder, read_json, write_text
from estimhank.target.any_density import DensityTarget

Array = NDArray[np.float64]

LIMIT = 4.5  # standard errors: some thousands of figures are looked at
_TRUTH = 400_000
_QUANTILES = (0.01, 0.05, 0.5, 0.95, 0.99)
_RADII = (0.95, 0.99)
_FEWEST_EXPECTED = 5.0  # draws beyond a quantile, below which a share says nothing


@dataclass(frozen=True)
class Animal:
    """A target of the zoo, a name for its folder, and how it is to be judged.

    Attributes
    ----------
    key : str
    make : callable
        Makes the target.
    searched : callable, optional
        The part of the target that a search from its start and spread can see.
    noise : float
        Standard deviation of noise that is added to every value; such a run must be refused.
    """

    key: str
    make: Callable[[], KnownTarget]
    searched: Callable[[], KnownTarget] | None = None
    noise: float = 0.0


ZOO: tuple[Animal, ...] = (
    *(Animal(f"normal_{d}", lambda d=d: known.correlated_normal(d)) for d in (2, 11, 30)),  # type: ignore[misc]
    *(Animal(f"banana_{d}", lambda d=d: known.banana(d)) for d in (3, 11)),  # type: ignore[misc]
    *(Animal(f"skewed_{d}", lambda d=d: known.skewed(d)) for d in (3, 11)),  # type: ignore[misc]
    Animal("jump_3", lambda: known.skewed(3, bound_known=False)),
    *(Animal(f"two_modes_{d}", lambda d=d: known.two_modes(d)) for d in (2, 11)),  # type: ignore[misc]
    Animal("two_modes_far", lambda: known.two_modes(3, apart=12.0)),
    *(Animal(f"student_{d}", lambda d=d: known.student_t(d)) for d in (2, 11, 36)),  # type: ignore[misc]
    Animal("student_3_dof", lambda: known.student_t(3, 3.0)),
    Animal("students_4", lambda: known.product_of_students(4)),
    Animal("logistic_8", lambda: known.logistic(8)),
    *(Animal(f"long_banana_{d}", lambda d=d: known.long_banana(d)) for d in (2, 11)),  # type: ignore[misc]
    *(Animal(f"half_space_{d}", lambda d=d: known.half_space(d)) for d in (2, 8)),  # type: ignore[misc]
    *(Animal(f"ordered_{d}", lambda d=d: known.ordered(d)) for d in (3, 6)),  # type: ignore[misc]
    Animal("disc", known.disc),
    Animal("needle", known.narrow_beside_wide, searched=lambda: known.standard_normal(2)),
    Animal("narrow", lambda: known.narrow_beside_wide(3.0, 0.3)),
    Animal("moving_average", known.moving_average),
    Animal("scales", known.scales),
    Animal("funnel_3", lambda: known.funnel(3, 1.0)),
    Animal("funnel_10", lambda: known.funnel(10)),
    Animal("noise", lambda: known.correlated_normal(3), noise=0.3),
    Animal("little_noise", lambda: known.correlated_normal(3), noise=1e-3),
)


@dataclass(frozen=True)
class Record:
    """What became of one target; the columns of ``zoo.csv``.

    ``worst`` names the figure that is furthest off, ``z`` is by how many standard errors.
    """

    target: str
    verdict: str
    converged: bool
    certified: bool
    worst: str
    z: float
    evaluations: int
    draws: int
    cpu_seconds: float
    words: str


def density_of(animal: Animal) -> tuple[KnownTarget, DensityTarget]:
    """The target, and what a user would hand over."""
    target = animal.make()
    d = target.transform.dimension
    limits = zip(target.names, target.transform.lower, target.transform.upper, strict=True)
    function: Callable[..., Any] = target.log_pdf
    gradient: Any = "jax"
    if animal.noise:
        rng = np.random.default_rng(1)

        def noisy(theta: Array) -> float:
            return float(target.log_pdf(jnp.asarray(theta))) + animal.noise * rng.standard_normal()

        function, gradient = noisy, None
    density = from_log_density(
        function,
        target.names,
        start=np.broadcast_to(target.start, (d,)),
        spread=np.broadcast_to(target.spread, (d,)),
        bounds={name: (low, high) for name, low, high in limits},
        gradient=gradient,
        version=target.label,
    )
    return target, density


def compare(target: KnownTarget, draws: Array, seed: int = 99) -> dict[str, float]:
    """z-scores of draws of shape (chain, draw, d) against the truth.

    Of every parameter: mean, standard deviation, shares below true quantiles. Of the Mahalanobis distance: the mass
    beyond true quantiles. The standard error is the larger of what the chains show and what the truth implies for as
    many effective draws.
    """
    truth = target.sample(np.random.default_rng(seed), _TRUTH)
    mean, root = truth.mean(axis=0), np.linalg.cholesky(np.cov(truth.T))
    scores: dict[str, float] = {}
    effective = np.minimum(ess(draws, "bulk"), ess(draws, "tail"))
    for i, name in enumerate(target.names):
        true, here = truth[:, i], draws[..., i]
        scores[f"{name} mean"] = _z(here, true.mean(), true.std(), effective[i])
        square = (true - true.mean()) ** 2
        around = (here - true.mean()) ** 2
        scores[f"{name} sd"] = _z(around, square.mean(), square.std(), effective[i])
        for q in _QUANTILES:
            below = (here < np.quantile(true, q)).astype(float)
            if min(q, 1 - q) * effective[i] >= _FEWEST_EXPECTED:
                scores[f"{name} mass below {q:.0%}"] = _z(below, q, np.sqrt(q * (1 - q)), effective[i])

    def distance(theta: Array) -> Array:
        return np.linalg.norm(np.linalg.solve(root, (theta - mean).reshape(-1, len(mean)).T), axis=0)

    true, here = distance(truth), distance(draws).reshape(draws.shape[:2])
    for q in _RADII:
        beyond = (here > np.quantile(true, q)).astype(float)
        scores[f"mass beyond the {q:.0%} radius"] = _z(beyond, 1 - q, np.sqrt(q * (1 - q)), float(effective.min()))
    return scores


def _z(values: Array, truth: float, sd: float, effective: float) -> float:
    """Distance of the mean of values (chain, draw) from the truth in standard errors."""
    means = values.mean(axis=1)
    by_chain = means.std(ddof=1) / np.sqrt(len(means))
    error = max(float(by_chain), sd / np.sqrt(effective), 1e-300)
    return float((values.mean() - truth) / error)


def visit(animal: Animal, folder: Path, profile: str, seed: int) -> Record:
    """Run one target and judge it."""
    begun = time.process_time()
    shutil.rmtree(folder, ignore_errors=True)
    # of a run that is refused before it ends, nothing else is known
    try:
        target, density = density_of(animal)
        settings = make_config({"run": {"backend": "serial", "seed": seed}}, profile)
        run = estimate_density(density, folder, settings)
    except EstimhankError as error:
        return Record(animal.key, "refused", False, False, "", 0.0, 0, 0, time.process_time() - begun, str(error))
    scores = compare(animal.searched() if animal.searched else target, run.draws)
    worst = max(scores, key=lambda name: abs(scores[name]))
    verdict = judge(run, scores, animal)
    counts = read_json(folder / "certificate.json")
    evaluations = sum(
        int(counts[f"{part}_evaluations"])
        for part in ("training", "certificate", "exact_stage")
        if f"{part}_evaluations" in counts
    )
    return Record(
        animal.key,
        verdict,
        run.converged,
        bool(run.certificate.passed),
        worst,
        round(scores[worst], 2),
        evaluations,
        run.draws.shape[0] * run.draws.shape[1],
        round(time.process_time() - begun, 1),
        run.words,
    )


def judge(run: DensityRun, scores: dict[str, float], animal: Animal) -> str:
    """The verdict on a run that has ended."""
    if not run.converged:
        return "refused"
    if animal.noise or max(map(abs, scores.values())) > LIMIT:
        return "WRONG AND PROUD"
    return "right" if animal.searched is None else "right where searched"


def write_results(records: Sequence[Record], folder: Path) -> None:
    """``zoo.csv`` and ``zoo.md``."""
    rows = [asdict(record) for record in records]
    with (folder / "zoo.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_text(folder / "zoo.md", markdown(records))


def markdown(records: Sequence[Record]) -> str:
    """The table "right / refused / WRONG AND PROUD"."""
    lines = [
        "| target | verdict | converged | certified | worst figure | z | evaluations |",
        "|---|---|---|---|---|---:|---:|",
    ]
    for r in records:
        yes = ("no", "yes")
        lines.append(
            f"| {r.target} | {r.verdict} | {yes[r.converged]} | {yes[r.certified]} | {r.worst} | {r.z:.1f} | "
            f"{r.evaluations:,} |"
        )
    wrong = sum(r.verdict == "WRONG AND PROUD" for r in records)
    lines.append(f"\n{len(records)} targets, {wrong} wrong and proud.\n")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Visit all targets, or those named; the exit code is the number of wrong and proud ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/zoo"))
    parser.add_argument("--only", nargs="*", default=[], help="names of targets")
    parser.add_argument("--profile", default="default")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    known_keys = [animal.key for animal in ZOO]
    for name in options.only:
        if name not in known_keys:
            parser.error(f"'{name}' is not in the zoo: {', '.join(known_keys)}")
    make_folder(options.out)
    records: list[Record] = []
    clock = time.perf_counter()
    for animal in ZOO:
        if options.only and animal.key not in options.only:
            continue
        records.append(visit(animal, options.out / animal.key, options.profile, options.seed))
        print(f"{records[-1].target:16s} {records[-1].verdict:20s} {records[-1]}", flush=True)
        write_results(records, options.out)  # so that an interrupted visit leaves what it has seen
    write_made(options.out, "zoo", time.perf_counter() - clock)
    return sum(record.verdict == "WRONG AND PROUD" for record in records)


if __name__ == "__main__":
    sys.exit(main())
