"""What a stage of a run is: one entry that says all there is to know of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from estimhank.analysis.facts import Facts
from estimhank.run.config import Config
from estimhank.support.files import sha256_of, to_json

if TYPE_CHECKING:
    from estimhank.run.context import RunContext


@dataclass(frozen=True)
class StageResult:
    """What a stage leaves behind.

    Attributes
    ----------
    files : tuple of str
        Files it wrote, relative to the results folder, without the evaluation store.
    facts : Facts, optional
        For the manifest.
    """

    files: tuple[str, ...]
    facts: Facts | None = None


@dataclass(frozen=True)
class StageSpec:
    """A stage.

    Attributes
    ----------
    name : str
        Of the stage and of its command.
    run : callable
        The stage's function, of a run's context.
    help : str
        What the command says of itself.
    sections : tuple of str
        Tables of the configuration that its files depend on, beside those of the stages before it.
    outputs : tuple of str
        Files and folders that it may write, without the evaluation store.
    stored_as : tuple of str
        Stages under which the store keeps what it evaluates.
    policy : dataclass, optional
        Numbers that the stage decides by, beside its settings.
    version : int
        Rises when a release computes something else from the same settings: runs of an older one are not up to date.
    """

    name: str
    run: Callable[[RunContext], StageResult]
    help: str
    sections: tuple[str, ...]
    outputs: tuple[str, ...]
    stored_as: tuple[str, ...] = ()
    policy: Any = None
    version: int = 1


class Pipeline(tuple[StageSpec, ...]):
    """Stages in their order."""

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(stage.name for stage in self)

    def __call__(self, name: str) -> StageSpec:
        """The stage of that name; ``KeyError`` if there is none."""
        return {stage.name: stage for stage in self}[name]

    def before(self, name: str) -> Pipeline:
        """The stages before it."""
        return Pipeline(self[: self.names.index(name)])

    def since(self, name: str) -> Pipeline:
        """The stage and those after it."""
        return Pipeline(self[self.names.index(name) :])

    def digest(self, name: str, config: Config) -> str:
        """Digest of all settings that a stage's files depend on, and of versions and policies of what makes them."""
        until = Pipeline((*self.before(name), self(name)))
        sections = tuple(dict.fromkeys(section for stage in until for section in stage.sections))
        made_by = {s.name: s.version if s.policy is None else [s.version, s.policy] for s in until}
        return sha256_of(to_json([config.digest(*sections), made_by], None))

    def stored_as(self, names: Sequence[str]) -> set[str]:
        """Under which stages the store keeps what some stages evaluate."""
        return {stored for stage in self if stage.name in names for stored in stage.stored_as}
