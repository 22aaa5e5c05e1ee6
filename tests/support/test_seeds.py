"""The register of random streams."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np

from estimhank.support.seeds import Stream, generator

PACKAGE = Path(__file__).resolve().parents[2] / "estimhank"


def test_streams_and_their_steps_are_different_numbers() -> None:
    first = [generator(7, stream, number).random() for stream in Stream for number in (0, 1)]
    assert len(set(first)) == len(first)
    # one stage's random walk must not be another stream's numbers
    assert max(stream for stream in Stream if stream is not Stream.RANDOM_WALK) < Stream.RANDOM_WALK


def test_numbers_are_what_they_were() -> None:
    np.testing.assert_array_equal(generator(3, Stream.MODE).random(4), np.random.default_rng([3, 1]).random(4))
    np.testing.assert_array_equal(generator(3, Stream.EXACT, 2).random(4), np.random.default_rng([3, 5, 2]).random(4))


def test_nobody_numbers_a_stream_in_passing() -> None:
    bare = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            made = isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "default_rng"
            if isinstance(node, ast.Call) and made and isinstance(node.args[0], ast.List):
                bare.add(path.relative_to(PACKAGE).as_posix())
    assert bare <= {"support/seeds.py", "networks/training.py"}  # a network's own, from a seed drawn for it
