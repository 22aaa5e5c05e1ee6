"""What was searched before anything was drawn: a certificate speaks of it, and of nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from estimhank.mode.mode_result import ModeResult
from estimhank.target.protocol import Target


@dataclass(frozen=True)
class Searched:
    """Where the mode search began and what it found.

    Attributes
    ----------
    starts : int
        Its dispersed starts.
    modes : int
        Local modes that they led to.
    area : str
        Over what they were dispersed, in words.
    """

    starts: int
    modes: int
    area: str

    @classmethod
    def by(cls, mode: ModeResult, target: Target) -> Self:
        """What a mode search of this target has searched; a target may say in ``search_area`` where starts are from."""
        return cls(len(mode.starts), len(mode.modes), target.search_area)

    @property
    def words(self) -> str:
        """What was searched."""
        starts = f"{self.starts} start{'' if self.starts == 1 else 's'} over {self.area}"
        return f"{starts} led to {self.modes} mode{'' if self.modes == 1 else 's'}"

    @property
    def caveat(self) -> str:
        """What follows for a reader."""
        return f"{self.words}; a mode that none of them leads to would not be in it"
