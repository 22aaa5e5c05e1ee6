"""Run ``estimhank`` in this process and have it kill itself in the middle of a chosen write.

``python -m benchmarks.kill_driver PLAN ARGUMENTS``: the arguments are those of ``estimhank``; PLAN is a JSON file with
``stage``, ``kind`` and ``number``, or without them a run that is left alone. The run is as it would be otherwise, but
that the ``number``-th write of that kind in that stage ends in SIGKILL. Writes are counted by stage and kind, and the
counts of a run that ends are put into ``PLAN``.

Kinds of writes: ``append`` to the evaluation store, killed with half of the record on the file; ``content`` of another
file, killed with half of it written; ``before`` and ``after`` the renaming that puts a new file in its place.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from estimhank import cli
from estimhank.evaluation import store
from estimhank.run import pipeline

KINDS = ("append", "content", "before", "after")


def main(plan_file: Path, arguments: list[str]) -> None:
    """Wrap the functions that write, then run the command line."""
    plan = json.loads(plan_file.read_text())
    counts: dict[str, Counter[str]] = {}
    stage = ["start"]

    def due(kind: str) -> bool:
        counter = counts.setdefault(stage[0], Counter())
        counter[kind] += 1
        return (stage[0], kind, counter[kind]) == (plan.get("stage"), plan.get("kind"), plan.get("number"))

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    run_one, write_all, replace, write_bytes = pipeline.run_one, store._write_all, os.replace, Path.write_bytes

    def follow(context: Any, function: Any, name: str, manifest: Any) -> Any:
        stage[0] = name
        return run_one(context, function, name, manifest)

    def append(handle: int, content: bytes, offset: int) -> None:
        if due("append"):
            write_all(handle, content[: len(content) // 2], offset)
            die()
        write_all(handle, content, offset)

    def put(source: Any, target: Any, **options: Any) -> None:
        if due("before"):
            die()
        replace(source, target, **options)
        if due("after"):
            die()

    def write(path: Path, content: Any) -> int:
        if due("content"):
            write_bytes(path, content[: len(content) // 2])
            die()
        return write_bytes(path, content)

    patches: list[tuple[Any, str, Callable[..., Any]]] = [
        (pipeline, "run_one", follow), (store, "_write_all", append), (os, "replace", put), (Path, "write_bytes", write)
    ]  # fmt: skip
    for owner, name, wrapped in patches:
        setattr(owner, name, wrapped)
    sys.argv = ["estimhank", *arguments]
    try:
        cli.main()
    finally:
        write_bytes(plan_file, json.dumps({**plan, "counts": counts}).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
