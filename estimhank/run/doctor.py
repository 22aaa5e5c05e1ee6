"""``estimhank doctor``: whether this machine and this environment can run an estimation, and what to do where not.

Every look imports what it needs when it is taken, so that the doctor itself comes up where packages are broken.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from estimhank.run.doctor_packages import importable, look_at_optional_parts, look_at_python, look_at_versions
from estimhank.run.findings import Finding, Findings, Look, look_at
from estimhank.support.errors import EstimhankError
from estimhank.support.machine import find_cores, find_memory

if TYPE_CHECKING:
    from estimhank.data.fred_client import FredClient

#: A point of the default model and its log likelihood there, from the specification of that model: computed by another
#: implementation before this one was written (the same number as in ``tests/helpers/golden.py``).
KNOWN_POINT: Mapping[str, float] = {
    "kappa_w": 0.1, "phi_pi": 1.7, "phi_y": 0.125, "rho_i": 0.5, "phi_b": 0.1, "rho_w": 0.95, "rho_g": 0.9,
    "rho_m": 0.6, "sigma_w": 0.3, "sigma_g": 0.8, "sigma_m": 0.4,
}  # fmt: skip
KNOWN_LOG_LIKELIHOOD, KNOWN_TOLERANCE = -383.104799, 1e-4

#: What a run imports, and what for.
_MODULES = {
    "numpy": "which computes", "scipy.linalg": "which solves linear systems", "jax": "which differentiates",
    "pandas": "which holds data", "arviz": "which holds draws", "flax": "which holds the network",
    "optax": "which trains it", "matplotlib": "which draws", "h5netcdf": "which writes posterior.nc",
    "typer": "which reads the command line", "joblib": "which starts workers",
}  # fmt: skip

GIB = 1 << 30
#: A default run leaves some 10 MB, a paper-sized one some 100 MB; compiled code takes about as much.
_LITTLE_DISK, _LOW_DISK = GIB // 5, GIB
#: What one process takes that solves the default model, in bytes, where the system does not tell what this one took.
_USUAL_MEMORY = 0.7 * GIB
#: Seconds that FRED has to answer.
_FRED_SECONDS = 5.0


def examine(client: FredClient | None = None, ask_fred: bool = True, root: Path = Path("/")) -> Findings:
    """Look at everything that a run depends on.

    Parameters
    ----------
    client : FredClient, optional
        How FRED is asked; by default once, with the key in ``FRED_API_KEY`` if there is one.
    ask_fred : bool
        Whether it is.
    root : Path
        Where ``proc`` and ``sys`` are.

    Returns
    -------
    Findings
    """
    looks: list[tuple[str, Look]] = [
        ("python", look_at_python),
        ("versions", look_at_versions),
        ("accelerator", _needing(look_at_accelerator, device=False)),
        ("double precision", _needing(look_at_precision)),  # before anything has computed in single precision
        ("imports", lambda: importable(_MODULES)),
        ("optional parts", _needing(look_at_optional_parts)),
        ("threads", _needing(look_at_threads)),
        ("cores", lambda: look_at_cores(root)),
        ("cache", _needing(look_at_cache, device=False)),
        ("files", _needing(look_at_files, device=False)),
        ("known solution", _needing(look_at_known_solution)),
        ("memory", lambda: look_at_memory(root)),  # last of what computes: it tells what that took
    ]
    if ask_fred:
        looks.append(("FRED", lambda: look_at_fred(client)))
    return look_at(looks)


def _needing(look: Callable[[], Iterator[Finding]], device: bool = True) -> Look:
    """A look that is not taken where JAX cannot be imported or, with ``device``, used: another look's fault."""

    def taken() -> Iterator[Finding]:
        name = look.__name__.removeprefix("look_at_").replace("_", " ")
        if next(importable({"numpy": "", "jax": ""}), None) is not None:
            yield Finding(name, "note", "not looked at: JAX, or what it stands on, cannot be imported")
        elif device and isinstance(_devices(), str):
            yield Finding(name, "note", "not looked at: JAX finds no device")
        else:
            yield from look()

    return taken


def _devices() -> list[tuple[str, str]] | str:
    """Platforms and kinds of the devices that JAX sees, or what it says where it sees none."""
    import jax

    _refused_precision()  # settings come before the first device
    try:
        return [(device.platform, device.device_kind) for device in jax.devices()]
    except Exception as error:  # an AssertionError for a platform that is not installed
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _refused_precision() -> str:
    """What keeps this process from computing in double precision, or nothing."""
    from estimhank.support.runtime import configure

    try:
        configure()
    except EstimhankError as error:
        return str(error)
    return ""


def look_at_precision() -> Iterator[Finding]:
    """Whether JAX computes with 64 bits, by computing something that 32 bits cannot hold."""
    if refused := _refused_precision():
        yield Finding("double precision", "fault", refused, "Unset JAX_ENABLE_X64 in this shell and where it is set.")
        return
    import jax.numpy as jnp

    left = float(jnp.asarray(1.0) + 1e-12 - 1.0)
    if abs(left - 1e-12) < 1e-15:
        yield Finding("double precision", "ok", "JAX computes with 64 bits")
    else:
        yield Finding(
            "double precision",
            "fault",
            "JAX computes with fewer than 64 bits, in which likelihoods are wrong",
            "Unset JAX_ENABLE_X64 and jax_default_dtype_bits in the environment and in JAX's configuration.",
        )


def look_at_threads() -> Iterator[Finding]:
    """Whether an evaluation keeps to one thread, so that its bits do not depend on the machine's cores."""
    from threadpoolctl import threadpool_info

    if _refused_precision():
        yield Finding("threads", "note", "not looked at: settings are made together with double precision")
        return
    pools = {info["internal_api"]: info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}
    wide = [f"{name} {threads}" for name, threads in pools.items() if threads != 1]
    flags = os.environ.get("XLA_FLAGS", "")
    lacking = [f for f in ("xla_cpu_multi_thread_eigen=false", "intra_op_parallelism_threads=1") if f not in flags]
    if wide:
        yield Finding(
            "threads",
            "fault",
            f"linear algebra uses several threads ({', '.join(wide)}), although it was told to use one",
            "Set OPENBLAS_NUM_THREADS=1, MKL_NUM_THREADS=1 and OMP_NUM_THREADS=1 in this shell.",
        )
    elif lacking or os.environ.get("PJRT_NPROC") != "1":
        yield Finding(
            "threads",
            "note",
            f"XLA_FLAGS={flags!r} and PJRT_NPROC={os.environ.get('PJRT_NPROC', '')!r} are your own and "
            "have the last word: an evaluation may use several threads, and last digits may depend on the machine",
            "Unset XLA_FLAGS and PJRT_NPROC to have the same bits everywhere.",
        )
    else:
        names = ", ".join(pools) or "no BLAS that can be asked"
        yield Finding("threads", "ok", f"one a process ({names}, XLA)")


def look_at_cores(root: Path = Path("/")) -> Iterator[Finding]:
    """Cores that this process may use, and how many workers a run starts."""
    cores = find_cores(root)
    quota = "" if cores.quota is None else f", of which the control group grants {cores.quota:g} cores' time"
    words = f"{cores.machine} in the machine, {cores.affinity} for this process{quota}"
    try:
        import joblib

        workers = int(joblib.cpu_count())
    except ImportError:
        workers = cores.usable
    if workers > cores.usable:
        yield Finding(
            "cores",
            "note",
            f"{words}; a run would start {workers} workers",
            f"Give `--workers {cores.usable}`: more processes than cores only wait for each other.",
        )
    else:
        yield Finding("cores", "ok", f"{words}; a run starts {workers} worker{'s' * (workers != 1)} by default")


def look_at_memory(root: Path = Path("/")) -> Iterator[Finding]:
    """Memory that can be taken, against what this process took for the known solution."""
    memory, workers = find_memory(root), find_cores(root).usable
    one = _peak() or _USUAL_MEMORY
    if memory.available is None:
        yield Finding(
            "memory", "note", f"the system does not tell; a process that solves the default model takes {_gib(one)}"
        )
        return
    limit = "" if memory.limit is None else f", limited to {_gib(memory.limit)} by the control group"
    words = f"{_gib(memory.available)} can be taken{limit}; a process that solves the default model took {_gib(one)}"
    fits = int(memory.available / one) - 1  # the process that leads them has as much
    if memory.available < one:
        yield Finding("memory", "fault", words, "End other programs, or ask for a larger share of memory.")
    elif fits < workers:
        yield Finding(
            "memory",
            "note",
            f"{words}, and a run starts {workers} of them beside the first",
            f"Give `--workers {max(fits, 1)}`." if fits > 0 else "Give `--backend serial`.",
        )
    else:
        yield Finding("memory", "ok", words)


def _peak() -> float | None:
    """Most memory that this process has had, in bytes."""
    try:
        import resource
    except ImportError:
        return None
    # macOS tells bytes, others kibibytes
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def look_at_accelerator() -> Iterator[Finding]:
    """What JAX can compute on."""
    devices = _devices()
    if isinstance(devices, str):
        asked = os.environ.get("JAX_PLATFORMS", "")
        yield Finding(
            "accelerator",
            "fault",
            f"JAX finds no device with JAX_PLATFORMS={asked!r} ({devices})",
            "Unset JAX_PLATFORMS, or set it to cpu.",
        )
        return
    kinds = sorted({kind for platform, kind in devices if platform != "cpu"})
    if kinds:
        yield Finding("accelerator", "ok", f"{', '.join(kinds)}; `--backend vectorized` uses it, nothing else does")
    else:
        yield Finding("accelerator", "ok", "none; the processor is used, which is what a run does by default")


def look_at_cache() -> Iterator[Finding]:
    """Where compiled code is kept, and whether it can be."""
    from estimhank.support.runtime import cache_folder

    folder = cache_folder()
    problem = _write_somewhere(folder)
    if problem:
        yield Finding(
            "cache",
            "fault",
            f"compiled code cannot be kept, so that every run compiles anew: {problem}",
            "Set ESTIMHANK_CACHE to a folder that you can write to.",
        )
        return
    held = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in held if path.exists())
    words = f"{folder} holds {len(held):,} files, {size / 1e6:,.0f} MB"
    yield Finding("cache", "ok", words if held else f"{folder} is empty: the first run compiles, some half a minute")


def look_at_files() -> Iterator[Finding]:
    """Whether results and temporary files can be written here, and how much room there is."""
    for name, folder in (("this folder", Path.cwd()), ("the folder of temporary files", Path(tempfile.gettempdir()))):
        problem = _write_somewhere(folder)
        if problem:
            variable = (
                "Change to a folder that you can write to, or give `--out`."
                if name == "this folder"
                else ("Set TMPDIR to a folder that you can write to.")
            )
            yield Finding("files", "fault", problem, variable)
            continue
        yield from look_at_disk(folder, name)


def look_at_disk(folder: Path, name: str) -> Iterator[Finding]:
    """Room on the disk of a folder."""
    free = shutil.disk_usage(folder).free
    words = f"{name}, {folder}, can be written to; {free / 1e9:,.1f} GB are free"
    if free < _LITTLE_DISK:
        yield Finding("files", "fault", words, "Make room on this disk, or give `--out` a folder on another.")
    elif free < _LOW_DISK:
        yield Finding("files", "note", words, "Make room before a run at the published sizes.")
    else:
        yield Finding("files", "ok", words)


def _write_somewhere(folder: Path) -> str:
    """Write, rename and remove a file as a run does; a sentence where that fails."""
    from estimhank.support.files import make_folder, write_bytes

    path = folder / f".estimhank-doctor-{os.getpid()}"
    try:
        make_folder(folder)
        write_bytes(path, b"x" * 4096)
        path.unlink()
    except (EstimhankError, OSError) as error:
        return str(error)
    return ""


def look_at_known_solution() -> Iterator[Finding]:
    """Solve the default model where its log likelihood is known, from the data that ship."""
    from estimhank.posterior.posterior import Posterior
    from estimhank.support.runtime import compiled_anew

    if _refused_precision():
        yield Finding("known solution", "note", "not looked at: there is no double precision")
        return
    began = time.process_time()
    try:
        posterior = Posterior.from_config("us_hank")
        found = float(posterior.log_likelihood(dict(KNOWN_POINT)))
    except EstimhankError as error:
        yield Finding("known solution", "fault", f"the default model is not solved: {error}", _SOLVE_CURE)
        return
    seconds = time.process_time() - began
    began = time.process_time()
    posterior.log_likelihood({**KNOWN_POINT, "phi_pi": 1.6})  # another point, so that nothing is remembered
    again = 1e3 * (time.process_time() - began)
    anew = compiled_anew()
    how = "compiled and solved" if anew else "loaded and solved"
    words = (
        f"log likelihood {found:.6f} ({KNOWN_LOG_LIKELIHOOD:.6f} is known), {how} in {seconds:.1f} s of "
        f"processor time, and once more at another point in {again:.0f} ms"
    ) + ("; what was compiled is kept for the next time, and for a run" if anew else "")
    if abs(found - KNOWN_LOG_LIKELIHOOD) <= KNOWN_TOLERANCE:  # not where it is nan
        yield Finding("known solution", "ok", words)
    else:
        yield Finding("known solution", "fault", f"{words}: this environment computes something else", _SOLVE_CURE)


_SOLVE_CURE = (
    "Put right the other faults first; if this one stays, install the tested versions (requirements.lock) into a new "
    "environment and empty the cache."
)


def look_at_fred(client: FredClient | None = None) -> Iterator[Finding]:
    """Whether FRED answers. It never is a fault if not: the default run's data ship with the package."""
    from estimhank.data.fred import KEY_VARIABLE
    from estimhank.data.fred_client import FredClient

    key = os.environ.get(KEY_VARIABLE, "").strip()
    client = client or FredClient(key, timeout=_FRED_SECONDS, retries=0)
    which = "with the key of FRED_API_KEY" if client.key else "without a key"
    try:
        client.fetch("GDPDEF")
    except EstimhankError as error:
        said = str(error).replace(client.key, "...") if client.key else str(error)
        yield Finding(
            "FRED",
            "note",
            f"asked {which}: {said}; the data of the default run ship with the package",
            'Only `source = "fred"` and "fred-csv" need it: try again with a network, and a valid key for "fred".',
        )
        return
    yield Finding("FRED", "ok", f"answers {which}" + ("" if client.key else ' (source = "fred-csv")'))


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
