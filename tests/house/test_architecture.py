"""The import contract: two wings, inference and economics, that meet only in ``run`` (docs/architecture.md)."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "estimhank"

#: Rooms from the ground up. A room may import those before it in its own wing, and what both wings stand on.
GROUND = ("support", "target")
INFERENCE = (*GROUND, "evaluation", "mode", "sampling", "networks", "surrogate", "evidence")
ECONOMICS = (
    *GROUND, "parameters", "data", "households", "model", "models", "adapters", "sequence_space", "transition",
    "emulator", "global_solution", "likelihood", "posterior", "economics",
)  # fmt: skip
OUTSIDE = (*dict.fromkeys(INFERENCE + ECONOMICS), "analysis", "report", "run", "cli", "__main__")

#: Imports that run up, each with a reason.
DOORS = {
    ("posterior", "run"): "Posterior.from_config, which people know, opens what run.open_posterior builds",
    ("economics", "report"): "Result.plot, which people type, draws by report.figures_economics",
    ("evidence", "report"): "Evidence.plot, which people type, draws by report.figures_policy",
    ("model", "models"): "the registry knows the names of the models that ship",
}


def imports() -> set[tuple[str, str, str]]:
    """Room, room that it imports, and the file that does so."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                parts = name.split(".")
                if parts[0] == "estimhank" and len(parts) > 1 and parts[1] != "__version__":
                    found.add((room, parts[1], str(path.relative_to(PACKAGE))))
    return found


def allowed(room: str) -> tuple[str, ...]:
    for wing in (INFERENCE, ECONOMICS, OUTSIDE):
        if room in wing:
            return wing[: wing.index(room) + 1]
    raise AssertionError(f"{room} has no place in the house: give it one here and in docs/architecture.md")


def test_arrows_run_downward_and_none_joins_the_wings() -> None:
    wrong = {
        f"{file} imports {other}"
        for room, other, file in imports()
        if other not in allowed(room) and (room, other) not in DOORS
    }
    assert not wrong


def test_every_door_is_used() -> None:
    assert {(room, other) for room, other, _ in imports()} >= set(DOORS)


def test_nothing_lies_loose_at_the_top() -> None:
    assert {p.name for p in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "cli.py"}
