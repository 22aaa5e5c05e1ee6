"""Exact draws at the price of about one evaluation each: delayed acceptance with surrogate subchains.

A step of a chain in state x (density pi, surrogate density s):

* subchain step: k steps of the surrogate's own reversible kernel lead from x to y; accept y with probability
  min(1, pi(y) s(x) / (pi(x) s(y))). The k-step kernel is reversible with respect to s, so the step is reversible with
  respect to pi whatever s is (Christen and Fox 2005; Liu 2001). The s that is divided out is the one the subchain used.
* random-walk step: a symmetric heavy-tailed proposal, accepted with min(1, pi(y) / pi(x)); or a ray step from z to
  exp(f) z with f normal, accepted with min(1, exp(d f) pi(y) / pi(x)), which crosses heavy tails. It never asks the
  surrogate.
* trajectory: several steps along the exact gradient (:mod:`estimhank.surrogate.trajectories`). Chains that will not
  converge in the rounds they have, as those of a poor surrogate in many dimensions, begin anew where they are, with
  trajectories among their steps; what was before is discarded.

Which one is taken, and k, are drawn independently of the state. All chains move in lockstep: one batch of exact
evaluations a round, several where it is a trajectory. Nothing adapts after the burn-in.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from estimhank.evaluation.evaluations import EvaluationBatch
from estimhank.mode.ascent import Value
from estimhank.support.errors import EstimhankError
from estimhank.support.progress_event import Progress, ProgressEvent
from estimhank.support.seeds import Stream, generator
from estimhank.surrogate.convergence import Convergence, judge_chains, mahalanobis
from estimhank.surrogate.exact_chains import TRAJECTORY, ExactChains, Schedule, States
from estimhank.surrogate.fast_mh import Proposal, SurrogateChains, run_steps, start_chains
from estimhank.surrogate.local_modes import find_local_modes, left_out_words
from estimhank.surrogate.policy import POSTERIOR_POLICY as POLICY
from estimhank.surrogate.random_walk_steps import random_walk_proposals
from estimhank.surrogate.stage_config import PosteriorConfig
from estimhank.surrogate.stopping import Outlook, Rejected, why_stopped
from estimhank.surrogate.surrogate import Surrogate
from estimhank.surrogate.trajectories import Trajectories
from estimhank.target.protocol import GradientLike, Target

Array = NDArray[np.float64]

STAGE = "exact"


class Evaluate(Protocol):
    """What asks for exact evaluations: :meth:`estimhank.evaluation.recorder.Recorder.evaluate` or a stand-in."""

    def __call__(self, stage: str, iteration: int, thetas: Array, gradient: GradientLike = False) -> EvaluationBatch:
        """Evaluations at natural parameters (n, d), as batch ``iteration`` of ``stage``."""
        ...


class NoStart(EstimhankError):
    """The exact stage found no state with a positive density."""


class _History:
    """States and steps of all rounds."""

    def __init__(self) -> None:
        self.states: list[States] = []
        self.steps: list[tuple[NDArray[np.bool_], NDArray[np.uint8], Array]] = []

    def column(self, name: str, first: int) -> np.ndarray:
        return np.stack([getattr(state, name) for state in self.states[first:]], axis=1)

    def step(self, k: int, first: int) -> np.ndarray:
        return np.stack([step[k] for step in self.steps[first:]], axis=1)


def acceptance(current: States, proposed: States, kind: NDArray[np.uint8], log_factor: Array | float = 0.0) -> Array:
    """Probability of accepting each proposal, shape (M,): the formulas at the head of this file.

    ``log_factor`` (M,) is d f of ray steps, the momenta's part of trajectories, zero for all others.
    """
    with np.errstate(invalid="ignore"):
        ratio = proposed.log_density - current.log_density + log_factor
        ratio = np.where(kind == 0, ratio + current.surrogate - proposed.surrogate, ratio)
    probability: Array = np.exp(np.minimum(ratio, 0.0))
    return np.where(np.isfinite(proposed.log_density) & np.isfinite(ratio), probability, 0.0)


def run_exact(
    evaluate: Evaluate,
    target: Target,
    surrogate: Surrogate,
    proposal: Proposal,
    starts: NDArray[np.float32],
    schedule: Schedule,
    config: PosteriorConfig,
    seed: int,
    progress: Progress | None = None,
) -> ExactChains:
    """Run the chains until they meet the criteria, looked at after fixed numbers of rounds, or will not in time.

    Parameters
    ----------
    evaluate : callable
        Gives exact evaluations; batches of stage ``"exact"`` are numbered from 0.
    target, surrogate : Target, Surrogate
    proposal : Proposal
        Frozen moves of the surrogate's kernel.
    starts : ndarray of shape (m, d)
        Draws of the surrogate, whitened, to start from.
    schedule : Schedule
    config : PosteriorConfig
    seed : int
    progress : callable, optional

    Raises
    ------
    NoStart
        If a chain finds no state with a positive density.
    """
    counter = _Counter(evaluate, target, surrogate)
    state = _start(counter, surrogate, starts, config, seed)
    history, key = _History(), jax.random.fold_in(jax.random.key(seed), Stream.EXACT)
    root = np.asarray(proposal.root, float) * float(proposal.scale)
    modes = surrogate.whiten(surrogate.modes) if len(surrogate.modes) > 1 else np.empty((0, surrogate.dimension))
    ray_share = POLICY.ray_share if schedule.mixed_lengths else 0.0
    if surrogate.shape.heavy:
        ray_share = POLICY.ray_share_of_heavy
    done, verdict, hopeless = 0, Convergence.unknown(surrogate.dimension), False
    # rounds before trajectories took over, none of which is kept
    origin, trajectories, left_out = 0, None, ""
    burn_in, burning, accepted_one = config.burn_in, True, np.zeros(config.chains, bool)
    # it lasts until every chain has accepted a surrogate proposal, but no longer than this
    longest = min(POLICY.longest_burn_in * config.burn_in, config.max_rounds // 4)
    outlook = Outlook(config.min_ess, config.max_rounds, 1.0 if target.has_gradient else POLICY.budgets)
    while done - origin < config.max_rounds and not verdict.converged and not hopeless:
        rng = generator(seed, Stream.EXACT, done + 1)
        if trajectories is not None and (burning or rng.random() < POLICY.trajectory_share):
            kind = np.full(config.chains, TRAJECTORY, np.uint8)
            z = trajectories.lead(rng, state.z)
            proposed, force = counter.with_force(z, np.asarray(start_chains(surrogate, z).value, float))
            probability = acceptance(state, proposed, kind, trajectories.arrive(force))
            if burning:
                trajectories.tune(probability)
            if burning and done - origin == POLICY.trajectory_burn_in // 2:
                trajectories.learn(history.column("z", -(POLICY.trajectory_burn_in // 3)).astype(float))
        else:
            if burning:
                usual = accepted_one | (done < config.burn_in)
                at_first = np.where(usual, POLICY.burn_in_walks, POLICY.walks_before_accepted)
                share = np.maximum(schedule.random_walk_share, at_first)
            else:
                share = np.full(config.chains, schedule.random_walk_share)
            kind = (rng.random(config.chains) < share).astype(np.uint8)
            steps = np.where(kind == 0, _lengths(rng, schedule, config.chains), 0)
            now = SurrogateChains(jnp.asarray(state.z), jnp.asarray(state.surrogate, jnp.float32))
            ends, _ = run_steps(
                surrogate.parameters, now, jax.random.fold_in(key, done), proposal,
                jnp.ones(config.chains, jnp.float32), jnp.asarray(steps), surrogate.shape,
            )  # fmt: skip
            walked, log_factor = random_walk_proposals(rng, state.z, root, modes, ray_share)
            walked_chains = start_chains(surrogate, walked)
            z = np.where(kind[:, None] == 0, np.asarray(ends.z), walked)
            proposed = counter(
                z, np.where(kind == 0, np.asarray(ends.value, float), np.asarray(walked_chains.value, float))
            )
            probability = acceptance(state, proposed, kind, np.where(kind == 1, log_factor, 0.0))
        accepted = rng.random(config.chains) < probability
        state = _replace(state, np.flatnonzero(accepted), proposed.rows(accepted))
        history.states.append(state)
        history.steps.append((accepted, kind, probability))
        done += 1
        accepted_one |= accepted & (kind == 0)
        if burning and trajectories is not None:
            if done - origin >= POLICY.trajectory_burn_in:
                burning = False
                trajectories.settle()
        elif burning and done >= config.burn_in:
            # a chain that began where the surrogate is far too low would wait there for hundreds of rounds
            burning, burn_in = not (accepted_one.all() or done >= longest), done
        if not burning and (done % config.check_every == 0 or done - origin == config.max_rounds):
            first = origin + discarded(done - origin, burn_in, schedule)
            verdict = _judge(history, first, surrogate, config)
            hopeless = not verdict.converged and outlook.add(done - first, verdict.fewest)
            if hopeless and trajectories is None and target.has_gradient:
                unit = root / float(proposal.scale)
                trajectories = Trajectories(unit, counter.force)
                state, left_out = _leave_negligible(counter, state, unit, rng)
                origin, burning, burn_in, hopeless = done, True, POLICY.trajectory_burn_in, False
                outlook = Outlook(config.min_ess, config.max_rounds)
        if progress is not None:
            words = verdict.words(probability)
            if trajectories is not None:
                words += ", along the exact gradient"
            progress(ProgressEvent(STAGE, done, origin + config.max_rounds, counter.total, words))
    first = origin + discarded(done - origin, burn_in, schedule)
    columns = ("theta", "x", "z", "log_likelihood", "log_prior", "log_density")
    draws: dict[str, Any] = {name: history.column(name, first) for name in columns}
    return ExactChains(
        **draws,
        surrogate_log_density=surrogate.constant + history.column("surrogate", first),
        accepted=history.step(0, first),
        step_kind=history.step(1, first),
        acceptance_probability=history.step(2, first),
        **verdict._asdict(),
        stopped=""
        if verdict.converged
        else why_stopped(
            target.names, history.column("theta", first), verdict, outlook, counter.rejected, done, hopeless
        ),
        left_out=left_out,
        rounds=done,
        burn_in=first,
        evaluations=counter.total,
        schedule=schedule,
    )


def discarded(rounds: int, burn_in: int, schedule: Schedule) -> int:
    """Rounds not kept of ``rounds`` rounds, ``burn_in`` at least; one is always kept."""
    return min(max(burn_in, math.ceil(schedule.burn_in_share * rounds)), rounds - 1)


class _Counter:
    """Exact evaluations as states, numbered and counted."""

    def __init__(self, evaluate: Evaluate, target: Target, surrogate: Surrogate) -> None:
        self.evaluate, self.target, self.surrogate = evaluate, target, surrogate
        self.batches, self.total, self.rejected = 0, 0, Rejected()

    def __call__(self, z: NDArray[np.float32], value: Array) -> States:
        return self._states(z, value, *self._batch(z))

    def with_force(self, z: np.ndarray, value: Array) -> tuple[States, Array]:
        """States, and the gradients (M, d) of their log densities with respect to z."""
        x, batch = self._batch(z, gradient=True)
        return self._states(z, value, x, batch), self._force(x, batch)

    def force(self, z: Array) -> Array:
        """Gradients of the log density with respect to z at places on the way; zero where there is no density."""
        return self._force(*self._batch(z, gradient=True))

    def _batch(self, z: np.ndarray, gradient: bool = False) -> tuple[Array, EvaluationBatch]:
        x = self.surrogate.unwhiten(z)
        batch = self.evaluate(STAGE, self.batches, self.target.transform.to_natural(x), gradient)
        self.batches += 1
        self.total += len(z)
        self.rejected.add(batch.theta, batch.reason)
        return x, batch

    def _states(self, z: np.ndarray, value: Array, x: Array, batch: EvaluationBatch) -> States:
        density = batch.log_density + self.target.transform.log_jacobian(x)
        density = np.where(np.isnan(density), -np.inf, density)
        return States(np.asarray(z, np.float32), x, batch.theta, batch.log_likelihood, batch.log_prior, density, value)

    def _force(self, x: Array, batch: EvaluationBatch) -> Array:
        usable = np.where(batch.ok[:, None] & np.isfinite(batch.gradient), batch.gradient, 0.0)
        of_x = self.target.transform.gradient_to_unconstrained(x, usable)
        return np.where(batch.ok[:, None], of_x, 0.0) @ self.surrogate.root


def _lengths(rng: np.random.Generator, schedule: Schedule, chains: int) -> NDArray[np.int64]:
    if not schedule.mixed_lengths:
        return np.full(chains, schedule.subchain)
    shorter = np.maximum(1, schedule.subchain // np.array(POLICY.shorter))
    return rng.choice(shorter, chains, p=POLICY.shorter_shares)


def _start(
    counter: _Counter, surrogate: Surrogate, starts: NDArray[np.float32], config: PosteriorConfig, seed: int
) -> States:
    """First states: draws of the surrogate; overdispersed points and known local modes for the last chains."""
    rng = generator(seed, Stream.EXACT, 0)
    m, d = config.chains, surrogate.dimension
    modes = surrogate.whiten(surrogate.modes)[: config.dispersed] if len(surrogate.modes) > 1 else np.empty((0, d))
    spread = np.std(starts, axis=0)
    state: States | None = None
    for attempt in range(POLICY.start_tries):
        z = starts[rng.integers(0, len(starts), m)].astype(float)
        wide = m - config.dispersed + np.arange(config.dispersed)
        z[wide] = starts.mean(axis=0) + POLICY.overdispersion * spread * rng.standard_normal((config.dispersed, d))
        if attempt == 0:
            z[wide[: len(modes)]] = modes
        if attempt >= POLICY.start_tries // 2:
            # a surrogate that prefers impossible places: begin where it is known to be possible
            z = surrogate.whiten(surrogate.known)[rng.integers(0, len(surrogate.known), m)].astype(float)
        rows = np.arange(m) if state is None else np.flatnonzero(~np.isfinite(state.log_density))
        chains = start_chains(surrogate, z[rows].astype(np.float32))
        found = counter(np.asarray(chains.z), np.asarray(chains.value, float))
        state = found if state is None else _replace(state, rows, found)
        if np.isfinite(state.log_density).all():
            return state
    raise NoStart("the exact stage found no starting states with a positive density among draws or around them")


def _replace(states: States, rows: NDArray[np.int64], new: States) -> States:
    """The states with those of some chains replaced."""

    def put(old: np.ndarray, values: np.ndarray) -> np.ndarray:
        changed = old.copy()
        changed[rows] = values
        return changed

    return States(**{name: put(getattr(states, name), getattr(new, name)) for name in States._fields})


def _leave_negligible(counter: _Counter, state: States, unit: Array, rng: np.random.Generator) -> tuple[States, str]:
    """States with chains around negligible local modes moved to where others are, and words on what was left."""

    def evaluate(w: Array) -> list[Value]:
        z = w @ unit.T
        found, force = counter.with_force(z, np.zeros(len(z)))
        return [Value(*pair) for pair in zip(found.log_density.tolist(), force @ unit, strict=True)]

    modes = find_local_modes(evaluate, np.linalg.solve(unit, state.z.astype(float).T).T)
    left = modes.negligible(POLICY.negligible_modes)
    lost = np.flatnonzero(left[modes.mode_of])
    if len(lost) > POLICY.most_lost * len(state.z):
        # where so many chains are there is mass, whatever Laplace's approximation says
        return state, ""
    others = np.flatnonzero(~left[modes.mode_of])
    return _replace(state, lost, state.rows(rng.choice(others, len(lost)))), left_out_words(modes, left)


def _judge(history: _History, first: int, surrogate: Surrogate, config: PosteriorConfig) -> Convergence:
    x, density = history.column("x", first), history.column("log_density", first)
    outside = surrogate.outside(x.reshape(-1, surrogate.dimension)).reshape(x.shape[:2])
    error = history.column("surrogate", first) - density
    z = history.column("z", first).reshape(-1, surrogate.dimension).astype(float)
    depths = {"the log density": density, "the distance from the centre": mahalanobis(z).reshape(x.shape[:2])}
    return judge_chains(history.column("theta", first), error, outside, config, depths)
