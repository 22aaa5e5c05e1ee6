"""What a look at a machine or a results folder finds, in words. Nothing but the standard library."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

#: Exit code of ``estimhank doctor`` when something is wrong.
FAULTS_FOUND = 6

Status = Literal["ok", "note", "fault"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        What was looked at.
    status : str
        ``"ok"``; ``"note"``: worth knowing, and a run goes through; ``"fault"``: it does not, or is not to be trusted.
    words : str
        What was found.
    cure : str
        What to do, one sentence; there is one with every fault.
    """

    name: str
    status: Status
    words: str
    cure: str = ""

    def __post_init__(self) -> None:
        if self.status == "fault" and not self.cure:
            raise ValueError(f"the fault '{self.name}' needs a cure")

    def lines(self) -> list[str]:
        """For a terminal."""
        head = f"{'FAULT' if self.status == 'fault' else self.status:<6}{self.name}: "
        text = [head + self.words, *([f"cure: {self.cure}"] if self.cure else [])]
        return [line for part in text for line in _wrap(part)]


@dataclass(frozen=True)
class Findings:
    """All of them; healthy if there is no fault."""

    all: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """What has to be put right."""
        return tuple(finding for finding in self.all if finding.status == "fault")

    @property
    def exit_code(self) -> int:
        """0, or :data:`FAULTS_FOUND`."""
        return FAULTS_FOUND if self.faults else 0

    def lines(self) -> list[str]:
        """For a terminal, the verdict last."""
        lines = [line for finding in self.all for line in finding.lines()]
        number = len(self.faults)
        names = ", ".join(dict.fromkeys(finding.name for finding in self.faults))
        notes = sum(finding.status == "note" for finding in self.all)
        verdict = f"{number} fault{'s' * (number != 1)}: {names}" if number else "nothing is wrong"
        return [*lines, f"{verdict}; {notes} note{'s' * (notes != 1)}"]

    def to_json(self) -> str:
        """Plain values."""
        plain = {"healthy": not self.faults, "findings": [asdict(finding) for finding in self.all]}
        return json.dumps(plain, indent=2)

    def show(self, as_json: bool = False) -> None:
        """Print either of both; what the terminal's encoding lacks, in a path say, as a question mark."""
        encoding = sys.stdout.encoding or "utf-8"
        text = self.to_json() if as_json else "\n".join(self.lines())
        print(text.encode(encoding, "replace").decode(encoding))


Look = Callable[[], Iterable[Finding]]


def look_at(looks: Sequence[tuple[str, Look]]) -> Findings:
    """Call looks in turn; an exception in one is a fault of its own and does not keep the others from being taken."""
    found: list[Finding] = []
    for name, look in looks:
        try:
            found += look()
        except Exception as error:
            words = " ".join(f"{type(error).__name__}: {error}".split())
            found.append(
                Finding(
                    name,
                    "fault",
                    f"could not be looked at ({words[:300]})",
                    "Put right what the message in brackets says, then look again.",
                )
            )
    return Findings(tuple(found))


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        110,
        initial_indent="      " if text.startswith("cure") else "",
        subsequent_indent=" " * 6,
        break_long_words=False,
        break_on_hyphens=False,
    )
