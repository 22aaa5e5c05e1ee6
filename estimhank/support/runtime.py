"""Process-wide numerical settings: double precision, one BLAS thread a process, a persistent compilation cache.

XLA reads its flags and OpenBLAS its thread count once, when they are loaded. So the environment of a worker must be set
before it starts (:func:`worker_environment`). Importing ``estimhank`` changes nothing in a process; whatever computes
with it (a posterior, a density, a run, a worker) calls :func:`configure` first.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path

import jax
import jax.monitoring
import platformdirs
import scipy.linalg  # noqa: F401  loads the BLAS that is limited below

from estimhank.support.errors import ConfigError

#: XLA on the CPU spreads a single matrix operation over all cores unless told not to; parallelism here is over
#: proposals.
SINGLE_THREAD_XLA = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

#: Threads of the pool to which XLA hands operations that do not wait for each other and parts of large products,
#: whatever the flags say: by default one a core, so that values would round as the machine has cores, and each of 64
#: workers would have 64 of them. One, so that a worker keeps to its core; what is to run side by side runs in processes
#: (:mod:`estimhank.evaluation.workers`).
POOL_SIZE = "1"

_MMAP_THRESHOLD, _TRIM_THRESHOLD, _ARENA_MAX = -3, -1, -8  # names of glibc's malloc.h
_KEPT_BYTES = 256 * 1024**2


def cache_folder() -> Path:
    """Folder of the user's cache for compiled code and downloads (``ESTIMHANK_CACHE`` overrides it).

    Where nobody's home is known, in a container that runs under a bare number say, it is one of the user's own among
    the temporary files.
    """
    explicit, shared = os.environ.get("ESTIMHANK_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
    if not explicit and shared.startswith("~"):  # which platformdirs takes for a relative path
        explicit = os.path.join(shared, "estimhank")
    path = os.path.expanduser(explicit or platformdirs.user_cache_dir("estimhank", appauthor=False))
    return _temporary_folder() if path.startswith("~") else Path(path)


@lru_cache(maxsize=1)
def _temporary_folder() -> Path:
    """A folder of this user's among the temporary files; not another's, who could put compiled code there."""
    try:
        if not hasattr(os, "getuid"):
            return Path(tempfile.gettempdir()) / "estimhank"
        path = Path(tempfile.gettempdir()) / f"estimhank-{os.getuid()}"
        path.mkdir(mode=0o700, exist_ok=True)
        return path if path.stat().st_uid == os.getuid() else Path(tempfile.mkdtemp(prefix="estimhank-"))
    except OSError:
        return Path(os.devnull) / "estimhank"  # nothing can be kept there, which is only slower


def worker_environment() -> dict[str, str]:
    """Environment variables under which a worker process evaluates with exactly one thread."""
    return {
        "XLA_FLAGS": SINGLE_THREAD_XLA,
        "PJRT_NPROC": POOL_SIZE,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu"),
    }


class PrecisionWarning(UserWarning):
    """JAX has computed in single precision in this process before it was switched to double."""


def configure() -> tuple[str, ...]:
    """Switch JAX to double precision, one thread, and a persistent compilation cache (where its folder is writable).

    Called by what needs it; call it yourself at the head of a notebook or script that computes with JAX before.
    One thread here as in the workers, so that an evaluation has the same bits wherever it runs (a factorisation
    split over two threads rounds differently, and at these sizes is slower too). Whoever sets ``XLA_FLAGS`` or
    ``PJRT_NPROC`` has the last word on XLA.

    Returns
    -------
    tuple of str
        What it has set, in words; empty where all was set before.

    Raises
    ------
    ConfigError
        If JAX is told to compute in single precision, by ``JAX_ENABLE_X64`` or since the first call.

    Warns
    -----
    PrecisionWarning
        If JAX has computed in single precision already: arrays made then stay what they are.
    """
    if _set:
        if not jax.config.jax_enable_x64:
            raise ConfigError(
                "JAX was switched back to single precision (jax_enable_x64 is off), in which likelihoods are wrong: "
                "leave it on in this process"
            )
        return ()
    asked = os.environ.get("JAX_ENABLE_X64", "").lower()
    if asked in ("0", "false", "no", "off", "n", "f"):
        raise ConfigError(
            f"JAX_ENABLE_X64={asked} tells JAX to compute in single precision, in which likelihoods are wrong: unset it"
        )
    if not jax.config.jax_enable_x64 and _has_computed():
        warnings.warn(
            "JAX has computed in single precision in this process and is switched to double now; arrays made before "
            "stay single: call estimhank.configure() at the head of a script or notebook",
            PrecisionWarning,
            stacklevel=3,
        )
    from threadpoolctl import threadpool_limits  # which changes the environment when it is imported

    _find_a_home()
    os.environ.setdefault("XLA_FLAGS", SINGLE_THREAD_XLA)
    os.environ.setdefault("PJRT_NPROC", POOL_SIZE)  # read when JAX first computes something
    _keep_freed_memory()
    # JAX calls the LAPACK that scipy has loaded
    threadpool_limits(1, user_api="blas")
    jax.config.update("jax_enable_x64", True)
    _set.extend(["double precision", "one thread for linear algebra"])
    # single evaluations run on the processor, in the workers and here, so that one value is the same bits everywhere;
    # an accelerator is used by name (estimhank.target.batching)
    if jax.config.jax_default_device is None:
        jax.config.update("jax_default_device", "cpu")
        _set.append("the processor as JAX's default device")
    if jax.config.jax_compilation_cache_dir is None:
        folder = cache_folder() / "xla"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return tuple(_set)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.monitoring.register_event_listener(_note_miss)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        _set.append(f"compiled code kept in {folder}")
    return tuple(_set)


#: What :func:`configure` has set in this process.
_set: list[str] = []


def _has_computed() -> bool:
    """Whether JAX has made an array in this process; a guess where a release of JAX does not tell."""
    try:
        from jax._src import xla_bridge

        return bool(xla_bridge.backends_are_initialized())
    except (ImportError, AttributeError):
        return False


#: Compilations of this process that the cache on disk did not have.
_misses: list[str] = []


def _note_miss(event: str, **details: object) -> None:
    if event == "/jax/compilation_cache/cache_misses":
        _misses.append(event)


def compiled_anew() -> bool:
    """Whether this process had to compile something that the cache on disk lacked."""
    return bool(_misses)


def compiled_code() -> str:
    """Where compiled code is kept, in words; and that it has to be made first where there is none."""
    folder = jax.config.jax_compilation_cache_dir
    if folder is None:
        return "compiled code is not kept (no folder for it can be written)"
    made = Path(folder).is_dir() and any(Path(folder).iterdir())
    return f"compiled code is kept in {folder}" + ("" if made else ", which is empty: compiling comes first")


def _find_a_home() -> None:
    """Give a process without a home folder one among the temporary files: libraries look there when they are imported,
    for settings that nobody has made."""
    if os.path.expanduser("~").startswith("~"):
        os.environ["USERPROFILE" if os.name == "nt" else "HOME"] = str(_temporary_folder())


def _keep_freed_memory() -> None:
    """Ask the C library to keep tens of megabytes that are freed for the next request.

    An evaluation needs the same few large arrays as the one before. By default they are handed back to the system and
    mapped anew each time, page by page: a sixth of the time of a gradient through the steady state, a third of a value
    of two assets at 1,500 dates, and more where several processes do so at once. Threads share one heap, as those of
    their own cannot hold more than 64 MB. Where the C library is not glibc nothing is changed.
    """
    try:
        set_option = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    set_option(_MMAP_THRESHOLD, _KEPT_BYTES)
    set_option(_TRIM_THRESHOLD, _KEPT_BYTES)
    set_option(_ARENA_MAX, 1)


def find_device() -> jax.Device:
    """The accelerator that JAX sees, or the processor where it sees none (or ``JAX_PLATFORMS=cpu`` says so)."""
    return jax.devices()[0]
