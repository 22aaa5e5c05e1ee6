"""A density is known by its content: any edit of anything that it reads shows, and nothing else does."""

from __future__ import annotations

import functools
import importlib
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.stats import norm

import estimhank
from estimhank.evaluation.store import EvaluationStore
from estimhank.support.errors import ResultsError
from estimhank.support.identity import identify
from estimhank.support.identity_walk import UNIDENTIFIED


def target_of(function: Callable[[Any], Any], **options: Any) -> Any:
    return estimhank.from_log_density(function, ["x"], start=[0.1], spread=[1.0], **options)


def load(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> Any:
    """The module ``density`` of the files, loaded anew."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(folder))
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    return importlib.import_module("density")


#: Files of a density; ``MEAN`` stands for a number that is edited in one of them.
KINDS = {
    "a helper": {"density": "def helper(x): return x - MEAN\ndef f(t): return -0.5 * helper(t[0]) ** 2"},
    "a constant": {"density": "M = MEAN\ndef f(t): return -0.5 * (t[0] - M) ** 2"},
    "an array": {
        "density": "import numpy as np\nM = np.array([MEAN, 1.0])\ndef f(t): return -0.5 * (t[0] - M[0]) ** 2"
    },
    "a default": {"density": "def f(t, m=MEAN): return -0.5 * (t[0] - m) ** 2"},
    "a keyword": {"density": "def f(t, *, m=MEAN): return -0.5 * (t[0] - m) ** 2"},
    "a closure": {"density": "def make(m):\n    return lambda t: -0.5 * (t[0] - m) ** 2\nf = make(MEAN)"},
    "an inner function": {"density": "def f(t):\n    return (lambda x: -0.5 * (x - MEAN) ** 2)(t[0])"},
    "a partial": {
        "density": "import functools\ndef g(m, t): return -0.5 * (t[0] - m) ** 2\nf = functools.partial(g, MEAN)"
    },
    "a decorated function": {
        "density": """
        import functools
        def shifted(g):
            @functools.wraps(g)
            def inside(t): return g(t - MEAN)
            return inside
        @shifted
        def f(t): return -0.5 * t[0] ** 2
        """
    },
    "an object's state": {
        "density": """
        class L:
            def __init__(self, m): self.m = m
            def __call__(self, t): return -0.5 * (t[0] - self.m) ** 2
        f = L(MEAN)
        """
    },
    "an object's class": {
        "density": "class L:\n    def __call__(self, t): return -0.5 * (t[0] - MEAN) ** 2\nf = L()",
    },
    "a base class": {
        "density": "from base import Base\nclass L(Base): pass\nf = L()",
        "base": "class Base:\n    def __call__(self, t): return -0.5 * (t[0] - MEAN) ** 2",
    },
    "a method": {
        "density": """
        class L:
            m = MEAN
            @property
            def mean(self): return self.m
            def value(self, t): return -0.5 * (t[0] - self.mean) ** 2
        f = L().value
        """
    },
    "slots": {
        "density": """
        class L:
            __slots__ = ("m",)
            def __call__(self, t): return -0.5 * (t[0] - self.m) ** 2
        f = L()
        f.m = MEAN
        """
    },
    "a dataclass": {
        "density": """
        import dataclasses
        @dataclasses.dataclass(frozen=True)
        class L:
            m: float = 0.0
            def __call__(self, t): return -0.5 * (t[0] - self.m) ** 2
        f = L(MEAN)
        """
    },
    "a module's function": {
        "density": "import helpers\ndef f(t): return helpers.value(t)",
        "helpers": "def value(t): return -0.5 * (t[0] - MEAN) ** 2",
    },
    "a module's data": {
        "density": "import helpers\ndef f(t): return -0.5 * (t[0] - helpers.DATA.mean()) ** 2",
        "helpers": "from numbers_of import TABLE\nDATA = TABLE",
        "numbers_of": "import numpy as np\nTABLE = np.full(3, MEAN)",
    },
    "an import inside": {
        "density": "def f(t):\n    from helpers import value\n    return value(t)",
        "helpers": "def value(t): return -0.5 * (t[0] - MEAN) ** 2",
    },
    "a helper of a helper": {
        "density": "from helpers import value\ndef f(t): return value(t)",
        "helpers": "import deeper\ndef value(t): return deeper.value(t)",
        "deeper": "def value(t): return -0.5 * (t[0] - MEAN) ** 2",
    },
    "modules that import each other": {
        "density": "import helpers\ndef f(t): return helpers.value(t)",
        "helpers": "import deeper\nM = MEAN\ndef value(t): return deeper.value(t)",
        "deeper": "import helpers\ndef value(t): return -0.5 * (t[0] - helpers.M) ** 2",
    },
    "a class in a module": {
        "density": "import helpers\ndef f(t): return helpers.L().value(t)",
        "helpers": "class L:\n    def value(self, t): return -0.5 * (t[0] - self.m) ** 2\nL.m = MEAN",
    },
    "a method through super": {
        "density": """
        from base import Base
        class L(Base):
            def __call__(self, t): return super().__call__(t)
        f = L()
        """,
        "base": "class Base:\n    def __call__(self, t): return -0.5 * (t[0] - MEAN) ** 2",
    },
    "a dictionary of functions": {
        "density": "g = {'a': lambda x: x - MEAN, 'b': abs}\ndef f(t): return -0.5 * g['a'](t[0]) ** 2",
    },
    "an interpolator": {
        "density": """
        import numpy as np
        from scipy.interpolate import CubicSpline
        g = CubicSpline(np.arange(4.0), np.full(4, MEAN))
        def f(t): return -0.5 * (t[0] - float(g(1.5))) ** 2
        """
    },
    "a jitted function": {
        "density": "import jax\n@jax.jit\ndef f(t): return -0.5 * (t[0] - MEAN) ** 2",
    },
    "a cached helper": {
        "density": "import functools\n@functools.cache\ndef m(): return MEAN\ndef f(t): return -0.5 * (t[0] - m()) ** 2"
    },
    "a frozen distribution": {
        "density": "from scipy import stats\nd = stats.norm(MEAN, 1)\ndef f(t): return float(d.logpdf(t[0]))"
    },
    "an attribute of the function": {
        "density": "def f(t): return -0.5 * (t[0] - f.m) ** 2\nf.m = MEAN",
    },
    "a data frame": {
        "density": "import pandas as pd\nd = pd.DataFrame({'a': [MEAN]})\ndef f(t): return -0.5 * (t[0] - d.a[0]) ** 2"
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_of_anything_that_is_read_shows(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for which, mean in (("one", "1.5"), ("again", "1.5"), ("comment", "1.5"), ("other", "2.5")):
        note = "# words\n\n" if which == "comment" else ""
        files = {name: note + textwrap.dedent(text).replace("MEAN", mean) for name, text in KINDS[kind].items()}
        function = load(tmp_path, monkeypatch, **files).f
        assert function(np.array([0.0])) == pytest.approx(-0.5 * float(mean) ** 2 - ("frozen" in kind) * 0.9189385)
        found[which] = target_of(function).fingerprint["function"]
        assert not found[which].startswith(UNIDENTIFIED)
    assert found["one"] == found["again"] == found["comment"] != found["other"]


def test_an_object_that_was_changed_is_refused_and_the_same_one_taken(tmp_path: Path) -> None:
    class Density:
        def __init__(self, mean: float) -> None:
            self.mean = mean

        def __call__(self, theta: np.ndarray) -> float:
            return -0.5 * float(theta[0] - self.mean) ** 2

    path = tmp_path / "evaluations.bin"
    for mean in (0.0, 0.0):
        made = target_of(Density(mean))
        EvaluationStore.open(path, made.names, made.fingerprint).close()
    other = target_of(Density(3.0))
    with pytest.raises(ResultsError, match="the function differs"):
        EvaluationStore.open(path, other.names, other.fingerprint)


def test_a_gradient_is_part_of_a_density() -> None:
    def value(theta: Any) -> Any:
        return -0.5 * theta[0] ** 2

    made = [target_of(value, gradient=g).fingerprint for g in ("jax", lambda t: -t, lambda t: -2 * t)]
    assert len({fingerprint["gradient"] for fingerprint in made}) == 3
    assert len({fingerprint["function"] for fingerprint in made}) == 1


def test_what_an_evaluation_changes_is_no_part_of_a_density() -> None:
    """Counters, logs and memories differ from themselves; they do not stand in the way of going on."""
    data, calls, seen, memory = np.arange(3.0), [0], [], {}  # type: ignore[var-annotated]

    def density(theta: np.ndarray) -> float:
        calls[0] += 1
        seen.append(theta.copy())
        density.last = theta[0]  # type: ignore[attr-defined]
        return float(memory.setdefault(len(seen), -0.5 * theta[0] ** 2 + data.sum()))

    class Counting:
        data = np.arange(3.0)

        def __call__(self, theta: np.ndarray) -> float:
            self.calls = getattr(self, "calls", 0) + 1
            return -0.5 * float(theta[0]) ** 2 + self.data[0]

    counting = Counting()
    for function in (density, counting):
        first = target_of(function).fingerprint
        function(np.array([4.0]))
        assert target_of(function).fingerprint == first
    data[0] = 1.0
    assert target_of(density).fingerprint != target_of(counting).fingerprint


def test_what_cannot_be_seen_needs_a_version(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("0.5\n", encoding="utf-8")
    handle = (tmp_path / "data.txt").open(encoding="utf-8")

    def reads(theta: np.ndarray) -> float:
        return -0.5 * float(theta[0] - np.loadtxt(tmp_path / "data.txt")) ** 2

    def opens(theta: np.ndarray) -> float:
        with open(tmp_path / "data.txt", encoding="utf-8") as stream:
            return -0.5 * float(theta[0] - float(stream.read())) ** 2

    def holds(theta: np.ndarray) -> float:
        handle.seek(0)
        return -0.5 * float(theta[0] - float(handle.read())) ** 2

    numbers = (x for x in range(10**9))

    def generates(theta: np.ndarray) -> float:
        return -0.5 * float(theta[0]) ** 2 + 0 * next(numbers)

    for i, function in enumerate((reads, opens, holds, generates)):
        path = tmp_path / f"evaluations{i}.bin"
        made = target_of(function)
        EvaluationStore.open(path, made.names, made.fingerprint).close()  # a first run is nobody's business
        with pytest.raises(ResultsError, match=r"the function cannot be identified by its content.*give it a version"):
            EvaluationStore.open(path, made.names, made.fingerprint)
        path.unlink()
        versioned = target_of(function, version="1")
        EvaluationStore.open(path, made.names, versioned.fingerprint).close()
        EvaluationStore.open(path, made.names, versioned.fingerprint).close()
        with pytest.raises(ResultsError, match="the version differs"):
            EvaluationStore.open(path, made.names, target_of(function, version="2").fingerprint)
    handle.close()


def test_a_file_read_by_the_constructor_is_data() -> None:
    class Density:
        def __init__(self) -> None:
            with open(os.devnull, encoding="utf-8") as stream:
                self.data = stream.read()
            self.lock = threading.Lock()

        @classmethod
        def from_file(cls, path: str) -> Any:
            return np.loadtxt(path)

        def __call__(self, theta: np.ndarray) -> float:
            return -0.5 * float(theta[0]) ** 2

    assert not identify(Density()).unknown


def everything() -> list[Any]:
    """Objects of many kinds that a density may refer to."""

    class Node:
        def __init__(self) -> None:
            self.me, self.names = self, {"a", "b", "c", "d"}

        def __call__(self, theta: Any) -> Any:
            return jnp.where(theta[0] in {"p", "q", "r"}, norm.logpdf(1.0), self.other(theta))

        def other(self, theta: Any) -> Any:
            return Node, theta

    def plain(theta: Any, weights: Any = (1.0, 2.0)) -> Any:
        return [np.sum(theta), stats.gamma(2.0).logpdf(theta), Node()]

    index = pd.period_range("2000Q1", periods=2, freq="Q")
    return [
        Node(), plain, functools.partial(plain, weights=frozenset({"x", "y", "z"})), jax.jit(plain), jax.vmap(plain),
        jax.grad(plain), functools.cache(plain), np.vectorize(plain), np.arange(3.0).dot, stats.norm(0.0, 1.0),
        pd.DataFrame({"a": [1.0, 2.0]}, index=index), {"b": 1, "a": {3, 1, 2}, 5: None}, jnp.arange(3),
        {1.5, "s", None}, np.array(["x", None], dtype=object), range(3), jax.random.key(0), complex(1, 2), 10**400,
        Node().other, estimhank.from_log_density,
    ]  # fmt: skip


if __name__ == "__main__":
    print([identify(value).digest for value in everything()], [identify(value).unknown for value in everything()])


def test_the_same_in_another_process_and_under_another_hash_seed() -> None:
    told = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, env=environment, check=True)
        told.append(done.stdout)
    assert told[0] == told[1] and "'" in told[0]
    assert told[0].split("] [")[1].strip() == ", ".join("()" for _ in everything()) + "]"
