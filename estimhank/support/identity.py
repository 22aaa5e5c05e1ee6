"""What a function, a class or an object is, by its content: the same in another process, another after any edit.

A stored evaluation may be used again only by the function that made it. A name says nothing about that, nor does the
text of the function alone: it calls helpers, reads constants and arrays, closes over variables, is decorated, or is an
object with a state. So everything that can be reached from it is walked: bytecode, constants, defaults, closures, the
globals that the bytecode names, attributes, base classes, and the text of the user's own modules. Of libraries it is
the name and the version. No address, no order of a set or a mapping and no hash enters.

What has no content to look at (an open file, a C pointer, a generator) or reads something that the code does not hold
(``open``, ``np.loadtxt`` at every call) is named instead, and :func:`part_of_fingerprint` says so in the fingerprint:
such a function is not known to be the one that it was, unless it carries a version.

What an evaluation itself changes (a counter, a list of the points seen, a memory of values) is no part of what a
function is: places whose content differs before and after a call (:func:`changed_places`) are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from estimhank.support.identity_walk import UNIDENTIFIED, Walk


@dataclass(frozen=True)
class Identity:
    """What an object is.

    Attributes
    ----------
    digest : str
        SHA-256 of all that could be walked.
    unknown : tuple of str
        What could not, in words.
    places : mapping of str to str
        Digest of what stands at each place, without that of the places below it.
    """

    digest: str
    unknown: tuple[str, ...]
    places: Mapping[str, str]


def changed_places(before: Identity, after: Identity) -> frozenset[str]:
    """Places whose content two walks of one object saw differently, for ``without`` of :func:`identify`."""
    names = {*before.places, *after.places}
    return frozenset(place for place in names if before.places.get(place) != after.places.get(place))


def identify(value: Any, entries: Iterable[str] = ("__call__",), without: frozenset[str] = frozenset()) -> Identity:
    """Identify an object by its content.

    Parameters
    ----------
    value : object
        A function, a class, an instance, a module, data, or plain containers of them.
    entries : iterable of str
        Methods of the classes met that are called from outside. Only code that can be reached from a function, or
        from one of these, counts where it reads files; a constructor may.
    without : frozenset of str
        Places that are left out (:func:`changed_places`).
    """
    walk = Walk(without=without)
    try:
        walk.visit(value)
    except RecursionError:
        walk.unknown.append("an object that is nested too deeply")
    used = walk.attributes | set(entries)
    outside = [words for method, words in walk.outside if not method or method in used]
    places = {place: content.hexdigest() for place, content in walk.places.items()}
    return Identity(walk.hash.hexdigest(), tuple(dict.fromkeys([*walk.unknown, *outside])), places)


def part_of_fingerprint(found: Identity, version: str = "") -> str:
    """A short digest for a fingerprint, or words that begin with :data:`UNIDENTIFIED`.

    Parameters
    ----------
    found : Identity
    version : str
        The user's own word for what cannot be seen; with one, everything counts as identified.
    """
    return UNIDENTIFIED + found.unknown[0] if found.unknown and not version else found.digest[:16]


def differing_parts(stored: Mapping[str, str], mine: Mapping[str, str]) -> list[str]:
    """Parts in which two fingerprints differ, or cannot be known to agree."""
    return [
        part
        for part in {**stored, **mine}
        if stored.get(part) != mine.get(part) or str(mine.get(part, "")).startswith(UNIDENTIFIED)
    ]


def why_unidentified(fingerprint: Mapping[str, str]) -> str:
    """What a fingerprint says cannot be identified, and what to do about it, as a sentence; empty if nothing."""
    for part, value in fingerprint.items():
        if value.startswith(UNIDENTIFIED):
            return (
                f"the {part} cannot be identified by its content ({value.removeprefix(UNIDENTIFIED)}), so that it is "
                "not known whether it is the one that it was: give it a version"
            )
    return ""
