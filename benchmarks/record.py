"""What the pages show of runs and benchmarks: from ``results/``, which git leaves out, to ``docs/recorded``.

    python -m benchmarks.record            # or `make record`

Takes what is in ``results/`` by now: of a finished run its manifest without the long lists, its certificate, some
tables, and the figures that a page shows; of a benchmark its tables, what it says of itself (``*.made.json``), and the
figures that a page shows. Parts that are not there stay as they were recorded. The tables on pages, and
``docs/recorded/README.md``, which says what came from which run, are written anew. Nothing is computed.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.pages import MADE, update_page
from benchmarks.scaling_pages import update_pages
from estimhank.run.manifest import Manifest, read_manifest
from estimhank.support.errors import EstimhankError
from estimhank.support.files import make_folder, read_json, read_text, to_plain, write_json
from estimhank.support.progress import format_seconds

#: Figures of the default run that ``docs/gallery.md`` shows, by their place in its folder.
GALLERY = (
    *(f"figures/{name}.png" for name in ("prior_posterior", "certificate", "convergence")),
    *(
        f"economics/{name}.png"
        for name in ("responses", "variance_decomposition", "historical_decomposition", "forecast")
    ),
    "linearity/linearity.png",  # of `estimhank linearity`, where that was run
)

#: Finished runs that are recorded, with their headings and the figures that a page shows.
RUNS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "us_hank": ("default run", GALLERY),
    "us_hank_household": ("household parameters too", ("micro_moments.png",)),
    "paper": ("`--profile paper`", ()),
}
#: Tables of a run: small, and of interest to who has not run it.
TABLES = ("prior_posterior.csv", "certificate.csv", "micro_moments.csv", "mode.csv", "timing.csv", "evaluations.csv")

#: What benchmarks leave in a folder of theirs and is recorded.
BENCHMARKS: Mapping[str, tuple[str, ...]] = {
    "bench": (
        "speed.csv", "speed.png", "first_run.csv", "first_run.json", "scaling_*.csv", "scaling.json",
        "scaling_algorithms.png", "surrogate_training.csv", "horizon.json", "economics.csv", "two_asset.csv",
    ),
    "validate": ("validate.csv", "validate.json", "validate.png"),
    "kills": ("kills.csv", "kills.json"),
    "robustness": ("robustness.csv", "samples.csv", "robustness.png"),
    "zoo": ("zoo.csv",),
    "calibration": ("calibration.csv", "calibration.json", "calibration.png"),
    "seeds": ("seeds.csv", "seeds_runs.csv"),
    "places": ("places.json",),
    "fuzz": ("fuzz.csv",),
    "holdout": ("holdout.csv", "holdout.json", "holdout.png"),
    "global": ("global_validation.csv",),
}  # fmt: skip

#: Tables for pages that benchmarks write: file, page, and what the page calls its place.
PLACES = (
    ("bench/speed.md", "docs/performance.md", "speed"),
    ("bench/first_run.md", "docs/performance.md", "first run"),
    ("bench/first_run_short.md", "docs/handbook.md", "first run"),
    ("bench/surrogate_training.md", "docs/surrogate.md", "training"),
    ("robustness/robustness.md", "docs/robustness.md", "robustness"),
    ("bench/horizon.md", "docs/likelihood.md", "horizon"),
    ("zoo/zoo.md", "docs/surrogate.md", "zoo"),
    ("bench/economics.md", "docs/economics.md", "economics"),
    ("holdout/holdout.md", "docs/holdout.md", "holdout"),
    ("global/global_validation.md", "docs/global.md", "global"),
    ("calibration/calibration.md", "docs/calibration.md", "calibration"),
    ("seeds/seeds.md", "docs/calibration.md", "seeds"),
    ("places/places.md", "docs/calibration.md", "places"),
    ("kills/kills.md", "docs/calibration.md", "kills"),
    ("fuzz/fuzz.md", "docs/calibration.md", "fuzz"),
)

_LONGEST = 16  # entries of a list that is worth keeping

#: The method's published figures (Kase, Rigato and Rottner 2024), row by row of the table of runs.
PUBLISHED = {
    "end to end": "40 min on 64 cores, 2 h on a laptop",
    "of it, training the network": "10 min",
    "exact evaluations until it is trained": "50,000",
    "wrong accepts, wrong rejects": "0.33 %, 0.42 %",
    "draws of the surrogate a second": "10,000",
}


def condense(value: Any) -> Any:
    """Plain values without long lists: what a fit's curves and the acceptance of each chain hold."""
    if isinstance(value, Mapping):
        return {k: condense(v) for k, v in value.items() if not (isinstance(v, list | tuple) and len(v) > _LONGEST)}
    return [condense(item) for item in value] if isinstance(value, list | tuple) else value


def describe_run(manifest: Manifest) -> dict[str, Any]:
    """What is kept of a manifest: from what it came, what it found, how long it took."""
    keys = ("config_file", "profile", "seed", "created", "finished", "wall_seconds", "versions", "machine", "data")
    stages = {
        name: {"seconds": record.seconds, "facts": condense(record.to_json()["facts"])}
        for name, record in manifest.stages.items()
    }
    head = {key: to_plain(getattr(manifest, key)) for key in keys}
    if Path(manifest.config_file).is_absolute():  # one that ships and was asked for by its name
        head["config_file"] = Path(manifest.config_file).stem
    head["machine"] = {key: value for key, value in manifest.machine.items() if key != "platform"}
    return {**head, "evaluations": manifest.evaluations, "failures": manifest.failures, "stages": stages}


def record_run(source: Path, target: Path, figures: tuple[str, ...]) -> bool:
    """Record one finished run; whether there was one."""
    manifest = read_manifest(source)
    if manifest is None or manifest.status != "finished":
        return False
    shutil.rmtree(target, ignore_errors=True)
    make_folder(target)
    write_json(target / "run.json", describe_run(manifest))
    names = (
        "certificate.json",
        *(f"tables/{name}" for name in TABLES),
        *(name if "/" in name else f"figures/{name}" for name in figures),
    )
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / Path(name).name)
    return True


def record_benchmark(source: Path, target: Path, patterns: tuple[str, ...]) -> bool:
    """Record what a folder of benchmarks holds; whether it held anything."""
    found = sorted({path for pattern in (*patterns, f"*{MADE}") for path in source.glob(pattern)})
    make_folder(target) if found else None
    for path in found:
        shutil.copyfile(path, target / path.name)
    return bool(found)


def run_figures(folder: Path) -> dict[str, str]:
    """Rows of the table of runs for one recorded run; what it does not say is left out."""
    run, certificate = read_json(folder / "run.json"), read_json(folder / "certificate.json")
    facts = {name: stage["facts"] for name, stage in run["stages"].items()}
    posterior, mode = facts["posterior"], facts["mode"]
    draws = min(posterior["ess_bulk"], posterior["ess_tail"])
    verdict = "passed" if certificate["passed"] else "failed; the exact posterior stands"
    return {
        "seed; date": f"{run['seed']}; {run['created'][:10]}",
        "end to end": format_seconds(run["wall_seconds"]),
        "of it, training the network": format_seconds(facts["surrogate"]["training_seconds"]),
        "exact evaluations until it is trained": f"{certificate['training_evaluations']:,}",
        "error s_e of the surrogate's log posterior, its own draws; exact draws": (
            f"{certificate['s_e']:.3f}; {certificate['s_e_exact_states']:.3f}"
        ),
        "wrong accepts, wrong rejects": f"{certificate['wrong_accept']:.2%}, {certificate['wrong_reject']:.2%}".replace(
            "%", " %"
        ),
        "draws of the surrogate a second": f"{round(posterior['surrogate_draws_per_second'], -4):,.0f}",
        "effective exact draws, fewest of any parameter; largest R̂": f"{draws:,.0f}; {posterior['r_hat']:.3f}",
        "certificate": verdict,
        "mode": f"{mode['agreeing']} of {mode['starts']} starts at log posterior {mode['log_density']:.3f}",
    }


def runs_table(recorded: Path) -> str:
    """The recorded runs side by side, and the published figures."""
    columns = {
        heading: run_figures(recorded / name)
        for name, (heading, _) in RUNS.items()
        if (recorded / name / "run.json").is_file()
    }
    columns["published¹"] = PUBLISHED
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    lines += [f"| {row} | " + " | ".join(c.get(row, "") for c in columns.values()) + " |" for row in rows]
    return "\n".join(lines)


def index(recorded: Path) -> Iterator[str]:
    """Lines of the table that says what came from where."""
    yield "| what | made by | when (UTC) | how long | seed | estimhank, jax, Python | machine |"
    yield "|---|---|---|---|---|---|---|"
    for file in sorted(recorded.glob("*/run.json")):
        run = read_json(file)
        command = f"estimhank estimate {run['config_file']} --profile {run['profile']}"
        yield _index_line(file.parent.name, command, run["created"], run["wall_seconds"], str(run["seed"]), run)
    for file in sorted(recorded.glob(f"*/*{MADE}")):
        made = read_json(file)
        name = f"{file.parent.name}/{file.name.removesuffix(MADE)}"
        yield _index_line(name, made["command"], made["date"], made["seconds"], "", made)


def validation(recorded: Path) -> str:
    """How far the exact posterior was from plain random-walk chains, in a sentence."""
    file = recorded / "validate" / "validate.json"
    if not file.is_file():
        return "Not recorded yet: `make validate`."
    v = read_json(file)
    return (
        f"{v['chains']} chains of {v['steps']:,} steps that never see the network. The differences of means, standard "
        f"deviations, 5 % and 95 % quantiles have a root mean square of {v['root_mean_square_z']:.1f} Monte Carlo "
        f"standard errors, {v['largest_z']:.1f} at most."
    )


def _index_line(name: str, command: str, date: str, seconds: float | None, seed: str, made: Mapping[str, Any]) -> str:
    versions = ", ".join(made["versions"].get(key, "?") for key in ("estimhank", "jax", "python"))
    machine = f"{made['machine']['processor']}, {made['machine']['cores']} cores"
    when, took = date.rstrip("Z").replace("T", " "), "" if seconds is None else format_seconds(seconds)
    cells = (name, f"`{command}`", when, took, seed, versions, machine)
    return "| " + " | ".join(cells) + " |"


def record(root: Path) -> list[str]:
    """Record all there is below ``root / "results"``; the names of what was.

    Raises
    ------
    EstimhankError
        If a page lacks a place for its table, or a manifest is damaged.
    """
    results, recorded = root / "results", root / "docs" / "recorded"
    done = [name for name, (_, figures) in RUNS.items() if record_run(results / name, recorded / name, figures)]
    done += [name for name, files in BENCHMARKS.items() if record_benchmark(results / name, recorded / name, files)]
    for file, page, place in PLACES:
        if (results / file).is_file():
            update_page(root / page, place, read_text(results / file).strip())
    update_pages(recorded / "bench", root / "docs")
    update_page(root / "docs" / "handbook.md", "runs", runs_table(recorded))
    update_page(recorded / "README.md", "index", "\n".join(index(recorded)))
    update_page(recorded / "README.md", "validation", validation(recorded))
    return done


def main() -> None:
    """Record, and say what was and what was not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(), help="the checkout")
    options = parser.parse_args()
    done = record(options.root)
    missing = [name for name in (*RUNS, *BENCHMARKS) if name not in done]
    size = sum(path.stat().st_size for path in (options.root / "docs" / "recorded").rglob("*") if path.is_file())
    print(
        f"recorded: {', '.join(done) or 'nothing'}; not in results/, left as they were: {', '.join(missing) or 'none'}"
    )
    print(f"docs/recorded holds {size / 1e6:.2f} MB")


if __name__ == "__main__":
    try:
        main()
    except EstimhankError as error:
        raise SystemExit(f"record: {error}") from None
