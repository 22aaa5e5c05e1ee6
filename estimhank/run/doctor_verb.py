"""``estimhank doctor`` and ``estimhank examples`` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from estimhank.run.shipped_files import copy_out, describe_shipped


def add_first_steps(app: typer.Typer) -> None:
    """The commands that need no run."""

    @app.command("doctor")
    def doctor_command(
        folder: Annotated[
            Path | None, typer.Argument(metavar="[RUN]", help="A results folder, to look at it and not at the machine.")
        ] = None,
        offline: Annotated[bool, typer.Option("--offline", help="FRED is not asked.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Plain values on standard output.")] = False,
    ) -> None:
        """Look at this machine, or at a results folder: what is wrong, and the cure; exit code 6 if anything is."""
        if folder is None:
            from estimhank.run.doctor import examine

            found = examine(ask_fred=not offline)
        else:
            from estimhank.run.doctor_run import examine_run

            found = examine_run(folder)
        found.show(as_json)
        if found.faults:
            raise typer.Exit(found.exit_code)

    @app.command("examples")
    def examples_command(
        name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of one; without it all are listed.")] = None,
        folder: Annotated[Path, typer.Option("--to", help="Where it is copied to.")] = Path(),
    ) -> None:
        """List the configurations and examples that ship, or copy one out with the files that it names."""
        if name is None:
            print("\n".join(describe_shipped()))
            return
        copied = copy_out(name, folder)
        print("\n".join(str(path) for path in copied.files))
        for absent in copied.absent:
            print(f"note: {absent} does not ship; the head of {copied.files[0]} says where it is from")
        print(f"next: estimhank check {copied.files[0]} && estimhank estimate {copied.files[0]}")
