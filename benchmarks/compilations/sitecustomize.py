"""Writes down every compilation of JAX, in whatever Python process has this folder first on its ``PYTHONPATH``.

Python imports a module of this name when it starts, so that worker processes report as the main one does. One line a
step is appended to the file that ``ESTIMHANK_COMPILATIONS`` names: process, kind of step, function, seconds, and the
time at its end. ``python -m benchmarks.first_run --compilations`` uses it.
"""

from __future__ import annotations

import os
import time

VARIABLE = "ESTIMHANK_COMPILATIONS"

#: What JAX measures, and the words for it. Compiling something that is in the cache is compiling too, a short one.
KINDS = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}


def note(event: str, seconds: float, **details: str | int) -> None:
    """Append one step to the file; short appended lines of several processes do not mix."""
    if event in KINDS:
        name = str(details.get("fun_name", "")).removeprefix("jit(").removesuffix(")")
        line = f"{os.getpid()}\t{KINDS[event]}\t{name}\t{seconds:.4f}\t{time.perf_counter():.4f}\n"
        with open(os.environ[VARIABLE], "a") as stream:
            stream.write(line)


if VARIABLE in os.environ:
    import jax

    jax.monitoring.register_event_duration_secs_listener(note)  # type: ignore[arg-type]
