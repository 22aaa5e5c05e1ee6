"""The tables of a run, each from the report's inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from estimhank.analysis.certificate_table import CertificateFigure
from estimhank.analysis.mode_words import kind_words
from estimhank.analysis.modes import laplace_sd
from estimhank.analysis.parameters import ParameterInfo
from estimhank.analysis.posterior_table import correlation_matrix
from estimhank.analysis.wording import (
    FAMILY_WORDS,
    REASON_WORDS,
    count,
    decimals_for,
    duration,
    fixed,
    percent,
    plural,
    significant,
    with_error,
)
from estimhank.report.households import micro_table
from estimhank.report.inputs import ReportInputs
from estimhank.report.tables import Column, Symbol, Table

_LABELS = {"s_e": "s_e", "s_e_exact_states": r"s_e \mbox{ on exact draws}", "pareto_k": r"\mbox{Pareto }\hat k"}


def all_tables(inputs: ReportInputs) -> tuple[Table, ...]:
    """Every table that the run has the material for."""
    tables = [prior_posterior_table(inputs), correlation_table(inputs)]
    if inputs.households is not None:
        tables.append(micro_table(inputs.households))
    if inputs.surrogate is not None:
        tables.append(surrogate_table(inputs))
    if inputs.certificate is not None:
        tables.append(certificate_table(inputs))
    if inputs.mode is not None:
        tables += [mode_table(inputs), local_modes_table(inputs)]
    if inputs.arrays.observed is not None:
        tables.append(data_table(inputs))
    if inputs.evaluations:
        tables.append(evaluations_table(inputs))
    if inputs.failure_examples:
        tables.append(failures_table(inputs))
    if inputs.seconds:
        tables.append(timing_table(inputs))
    return tuple(tables)


def symbol_of(parameter: ParameterInfo) -> Symbol:
    """The parameter's symbol as a table cell."""
    return Symbol(parameter.name, parameter.latex)


def described(parameter: ParameterInfo) -> str:
    """Description with the unit in brackets."""
    return f"{parameter.description} ({parameter.unit})" if parameter.unit else parameter.description


def _number(decimals: int) -> Callable[[float], str]:
    return lambda value: fixed(float(value), decimals)


def _three_digits(value: float) -> str:
    return significant(float(value), 3)


def _bound(value: float) -> str:
    return f"{value:g}".replace("inf", "∞")


def _support(parameter: ParameterInfo) -> str:
    return f"({_bound(parameter.lower)}, {_bound(parameter.upper)})"


def _decimals(errors: ArrayLike, smallest: int = 3, largest: int = 5) -> int:
    """One number of decimals for a whole table: two significant digits of the smallest error."""
    finite = [e for e in np.ravel(errors) if math.isfinite(e) and e > 0]
    return min(max(decimals_for(min(finite)) if finite else smallest, smallest), largest)


def prior_posterior_table(inputs: ReportInputs) -> Table:
    """Prior, mode, exact posterior with its convergence figures, and the surrogate's posterior beside it."""
    rows, has_surrogate = inputs.rows, inputs.surrogate is not None
    number = _number(_decimals([row.sd for row in rows]))
    prior_number = _number(_decimals([row.parameter.prior_sd for row in rows], largest=4))
    exact, convergence, surrogate = "Exact posterior", "Convergence", "Surrogate"
    columns = (
        Column("name", "Parameter"),
        Column("description", "Description"),
        Column("unit", show=False),
        Column("prior_family", "Family", "Prior"),
        Column("prior_mean", "Mean", "Prior", prior_number),
        Column("prior_sd", "S.d.", "Prior", prior_number),
        Column("support", "Support", "Prior", str),
        Column("lower", show=False),
        Column("upper", show=False),
        Column("mode", "Mode", "", number, show=inputs.mode is not None),
        Column("posterior_mean", "Mean", exact, number),
        Column("posterior_mean_mcse", "MCSE", exact, lambda v: significant(v, 1)),
        Column("posterior_sd", "S.d.", exact, number),
        Column("posterior_sd_mcse", show=False),
        Column("q05", "5 %", exact, number),
        Column("q05_mcse", show=False),
        Column("q95", "95 %", exact, number),
        Column("q95_mcse", show=False),
        Column("r_hat", "R̂", convergence, _number(3)),
        Column("ess_bulk", "ESS bulk", convergence, count),
        Column("ess_tail", "ESS tail", convergence, count),
        Column("surrogate_mean", "Mean", surrogate, number, show=has_surrogate),
        Column("surrogate_sd", "S.d.", surrogate, number, show=has_surrogate),
    )
    body = []
    for row in rows:
        p = row.parameter
        family = FAMILY_WORDS.get(p.prior_family.replace(" ", "_"), p.prior_family)
        prior = (family, p.prior_mean, p.prior_sd)
        head = (symbol_of(p), described(p), p.unit, *prior, _support(p), p.lower, p.upper)
        exact_cells = (row.mean, row.mcse_mean, row.sd, row.mcse_sd, row.q05, row.mcse_q05, row.q95, row.mcse_q95)
        tail = (row.r_hat, row.ess_bulk, row.ess_tail, row.surrogate_mean, row.surrogate_sd)
        body.append((*head, row.mode, *exact_cells, *tail))
    criteria = inputs.criteria

    def emphasis(key: str, cell: Any) -> str:
        limits = {"ess_bulk": criteria.ess, "ess_tail": min(criteria.ess_tail, criteria.ess)}
        too_high = key == "r_hat" and not cell <= criteria.r_hat
        return "outside" if too_high or (key in limits and not cell >= limits[key]) else ""

    notes = (
        "Prior mean and s.d. are those before truncation to the support. MCSE: Monte Carlo standard error of the mean. "
        "5 % and 95 % bound the central 90 % of the exact posterior. ESS: effective number of draws, in the bulk and "
        "in the tails (5 % and 95 % quantiles). Figures that miss their criterion are in bold."
    )
    return Table("prior_posterior", "Prior and posterior", columns, tuple(body), notes, emphasis)


def surrogate_table(inputs: ReportInputs) -> Table:
    """Distance between the surrogate's posterior and the exact one."""
    gap = inputs.gap
    assert gap is not None  # all_tables asks only where there is a surrogate

    def error(value: float) -> str:
        return f"± {fixed(value, 3)}"

    group = "Surrogate minus exact, in exact posterior s.d."
    columns = (
        Column("name", "Parameter"),
        Column("mean_gap", "Mean", group, _number(3)),
        Column("mean_gap_mcse", "MCSE", group, error),
        Column("q05_gap", "5 %", group, _number(3)),
        Column("q05_gap_mcse", "MCSE", group, error),
        Column("q95_gap", "95 %", group, _number(3)),
        Column("q95_gap_mcse", "MCSE", group, error),
        Column("sd_ratio", "Ratio", "S.d., surrogate to exact", _number(3)),
        Column("sd_ratio_mcse", "MCSE", "S.d., surrogate to exact", error),
    )
    values = (gap.mean, gap.mcse_mean, gap.q05, gap.mcse_q05, gap.q95, gap.mcse_q95, gap.sd_ratio, gap.mcse_sd_ratio)
    body = tuple((symbol_of(p), *(float(v[i]) for v in values)) for i, p in enumerate(inputs.parameters))
    notes = "MCSE: Monte Carlo standard error of the difference, from the draws of both posteriors."
    return Table("surrogate_gap", "The surrogate's posterior against the exact one", columns, body, notes)


def certificate_table(inputs: ReportInputs) -> Table:
    """The certificate's figures against their limits."""
    columns = (
        Column("key", show=False),
        Column("label", "Figure"),
        Column("words", "What it is"),
        Column("value", show=False),
        Column("mcse", show=False),
        Column("limit", show=False),
        Column("shown_value", "Value ± MCSE", "", str),
        Column("shown_limit", "Limit", "", str),
        Column("result", "Result"),
    )
    body = []
    for figure in inputs.certificate_figures:
        shown = (with_error(figure.value, figure.mcse, figure.percent), _limit(figure), _result(figure))
        symbol = Symbol(figure.label, _LABELS[figure.key]) if figure.key in _LABELS else figure.label
        body.append((figure.key, symbol, figure.words, figure.value, figure.mcse, figure.limit, *shown))
    certificate = inputs.certificate or {}
    counted = [
        f"{count(float(certificate[key]))} {words}"
        for key, words in (
            ("training_evaluations", "training evaluations"),
            ("certificate_evaluations", "fresh evaluations for this certificate"),
            ("exact_stage_evaluations", "evaluations in the exact stage"),
        )
        if certificate.get(key) is not None
    ]
    notes = f"{', '.join(counted)}." if counted else ""

    def emphasis(key: str, cell: object) -> str:
        return "outside" if key == "result" and cell in ("failed", "missing") else ""

    return Table("certificate", "The surrogate's certificate", columns, tuple(body), notes, emphasis)


def _limit(figure: CertificateFigure) -> str:
    if not figure.has_limit:
        return "none"
    limit = percent(figure.limit) if figure.percent else significant(figure.limit, 2)
    return f"{'above' if figure.at_least else 'below'} {limit}"


def _result(figure: CertificateFigure) -> str:
    if math.isnan(figure.value):
        return "missing" if figure.has_limit else "not measured"
    if not figure.has_limit:
        return "reported"
    return "passed" if figure.passed else "failed"


def mode_table(inputs: ReportInputs) -> Table:
    """Mode and the standard deviations of the normal approximation there, as Dynare prints them."""
    search = inputs.mode
    assert search is not None  # all_tables asks only where there is a mode
    sd = laplace_sd(search)
    number = _number(_decimals(sd))
    columns = (
        Column("name", "Parameter"),
        Column("prior_mean", "Prior mean", "", number),
        Column("mode", "Mode", "", number),
        Column("laplace_sd", "S.d. (Hessian)", "", number),
        Column("t_statistic", "Mode / s.d.", "", _number(1)),
        Column("posterior_sd", "S.d. (posterior)", "", number),
    )
    body = tuple(
        (symbol_of(p), p.prior_mean, float(mode), float(s), float(mode / s), float(inputs.exact.sd[i]))
        for i, (p, mode, s) in enumerate(zip(inputs.parameters, search.theta, sd, strict=True))
    )
    notes = "Mode of the posterior density of the natural parameters; s.d. from the inverse Hessian there"
    if math.isfinite(search.condition):
        notes += f" (condition number {significant(search.condition, 2)})"
    return Table("mode", "Posterior mode", columns, body, f"{notes}.")


def local_modes_table(inputs: ReportInputs) -> Table:
    """All local modes with their log posteriors and the number of starts that ended there."""
    search = inputs.mode
    assert search is not None  # all_tables asks only where there is a mode
    number = _number(_decimals(laplace_sd(search), largest=4))
    columns = (
        Column("mode", "Mode", "", count),
        Column("log_posterior", "Log posterior", "", _number(3)),
        Column("below_best", "Below the best", "", _number(3)),
        Column("starts", "Starts", "", count),
        *(Column(p.name, p.name, "", number, latex=p.latex) for p in inputs.parameters),
    )
    body = tuple(
        (k + 1, m.log_density, search.log_density - m.log_density, m.starts, *(float(v) for v in m.theta))
        for k, m in enumerate(search.modes)
    )
    ended = sum(mode.starts for mode in search.modes)
    notes = (
        f"{ended} of {len(search.starts)} starts ended at one of these modes. Log posterior: log likelihood plus log "
        f"prior. The best one is {kind_words(search)}."
    )
    if at_edge := sum(supremum.starts for supremum in search.suprema):
        notes += f" {plural(at_edge, 'start')} ended at the edge of the feasible region, which is no mode."
    return Table("local_modes", "Local modes", columns, body, notes)


def correlation_table(inputs: ReportInputs) -> Table:
    """Posterior correlations of the parameters."""
    matrix = correlation_matrix(inputs.arrays.exact.theta)
    columns = (
        Column("name", "Parameter"),
        *(Column(p.name, p.name, "", _number(2), latex=p.latex) for p in inputs.parameters),
    )
    body = tuple((symbol_of(p), *(float(v) for v in matrix[i])) for i, p in enumerate(inputs.parameters))
    return Table("correlations", "Correlations in the exact posterior", columns, body)


def data_table(inputs: ReportInputs) -> Table:
    """Means, standard deviations and first autocorrelations of the observables."""
    observed = inputs.arrays.observed
    assert observed is not None  # all_tables asks only where there are data
    columns = (
        Column("name", "Observable"),
        Column("label", "What it is"),
        Column("unit", "Unit"),
        Column("quarters", "Quarters", "", count),
        Column("mean_removed", "Mean removed", "", _number(3)),
        Column("sd", "S.d.", "", _number(3)),
        Column("autocorrelation", "First autocorrelation", "", _number(3)),
        Column("measurement_error", "Measurement error, s.d.", show=bool(inputs.measurement_error)),
    )
    body = []
    for i, name in enumerate(observed.names):
        values = observed.values[:, i]
        mean = float(observed.means[i])
        sd, there = float(np.nanstd(values, ddof=1)), int(np.isfinite(values).sum())
        described = (name, observed.labels[i], observed.units[i])
        error = inputs.measurement_error.get(name, "none")
        body.append((*described, there, mean, sd, _autocorrelation(values), error))
    notes = "S.d. with divisor n - 1."
    return Table("data", "The observables over the sample", columns, tuple(body), notes)


def _autocorrelation(values: np.ndarray) -> float:
    deviation = values - np.nanmean(values)
    pairs = deviation[1:] * deviation[:-1]
    return float(np.nansum(pairs) / np.nansum(deviation**2))


def evaluations_table(inputs: ReportInputs) -> Table:
    """Evaluations of the exact log posterior by stage, and the failed ones by reason."""
    seen = [reason for reason in inputs.failures if inputs.failures[reason] and reason != "ok"]
    reasons = [*(r for r in REASON_WORDS if r in seen), *(r for r in seen if r not in REASON_WORDS)]
    columns = (
        Column("stage", "Stage"),
        Column("evaluations", "Evaluations", "", count),
        Column("ok", "Finite density", "", count),
        *(Column(r, REASON_WORDS.get(r, r), "Without a density, by reason", count) for r in reasons),
    )
    stages = {**inputs.evaluations, "all stages": inputs.failures}
    body = tuple(
        (stage, sum(counts.values()), counts.get("ok", 0), *(counts.get(r, 0) for r in reasons))
        for stage, counts in stages.items()
    )
    return Table("evaluations", "Evaluations of the exact log posterior", columns, body)


def failures_table(inputs: ReportInputs) -> Table:
    """Parameters at which the log posterior had no density, a few for each reason."""
    columns = (
        Column("reason", "Reason", "", lambda reason: REASON_WORDS.get(reason, reason)),
        Column("stage", "Stage"),
        Column("iteration", "Iteration", "", str),
        *(Column(p.name, p.name, "", _three_digits, latex=p.latex) for p in inputs.parameters),
    )
    body = tuple(
        (reason, entry.stage, entry.iteration, *(entry.parameters[p.name] for p in inputs.parameters))
        for reason, entries in inputs.failure_examples.items()
        for entry in entries
    )
    return Table("failures", "Examples of parameters without a density", columns, body)


def timing_table(inputs: ReportInputs) -> Table:
    """Wall time by stage."""
    total = sum(inputs.seconds.values())
    columns = (
        Column("stage", "Stage"),
        Column("seconds", show=False),
        Column("time", "Wall time", "", str),
        Column("share", "Share", "", lambda v: f"{fixed(100 * v, 1)} %"),
    )
    body = [(stage, float(s), duration(s), s / total if total > 0 else math.nan) for stage, s in inputs.seconds.items()]
    body.append(("all stages", float(total), duration(total), 1.0 if total > 0 else math.nan))
    return Table("timing", "Wall time", columns, tuple(body))
