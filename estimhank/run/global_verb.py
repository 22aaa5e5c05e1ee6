"""The command ``estimhank global``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from estimhank.run.global_config import load_global_config
from estimhank.support.errors import ConvergenceError, Interrupted
from estimhank.support.progress import ProgressDisplay, format_seconds


def add_global_verb(app: typer.Typer) -> None:
    """The command."""

    @app.command("global")
    def global_command(
        config: Annotated[str, typer.Argument(metavar="CONFIG", help="TOML file, or the name of a shipped one.")],
        out: Annotated[
            Path | None, typer.Option("--out", help="Results folder; by default one under results/.")
        ] = None,
        profile: Annotated[
            str, typer.Option(help="Sizes by name: smoke, default, published, or one of the file's own.")
        ] = "default",
        seed: Annotated[int | None, typer.Option(min=0, help="Seed of every random number.")] = None,
        resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")] = False,
        overwrite: Annotated[
            bool, typer.Option("--overwrite", help="Begin again, replacing what is in the folder.")
        ] = False,
        require: Annotated[
            bool, typer.Option("--require-passed", help="End with exit code 4 if a check fails.")
        ] = False,
        quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    ) -> None:
        """Solve an economy with aggregate risk globally by neural networks, and say whether the solution may be
        trusted.
        """
        from estimhank.run.global_run import solve_global  # what everybody else does without

        settings, path = load_global_config(config, profile)
        if seed is not None:
            settings = dataclasses.replace(settings, run=dataclasses.replace(settings.run, seed=seed))
        folder = out or Path("results") / path.stem
        try:
            with ProgressDisplay(quiet=quiet) as display:
                outcome = solve_global(settings, folder, path.parent, resume, overwrite, display, display.say)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; finished rounds are in {folder}, --resume goes on from there") from None
        if outcome.verdict is None:
            print(f"{outcome.folder} is up to date: nothing was computed (--overwrite computes it again)")
        else:
            print(f"global: {format_seconds(outcome.figures['seconds'])}; see {outcome.folder / 'report.html'}")
        print(outcome.figures["verdict"])
        if require and not outcome.figures["passed"]:
            raise ConvergenceError(f"the solution in {outcome.folder} has not passed its checks")
