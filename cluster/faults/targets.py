"""What a fault may strike: parsing names that people write, against those that exist. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.errors import EntityNotFoundError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COORDINATOR: Final = "coordinator"
ARROW: Final = "->"
LONGEST_CHARACTERS: Final = 300
"""Of a target, before anything else is looked at."""

_LINK = re.compile(r"(?:link\s+)?(\S+?)\s*(?:->|→|\s+to\s+)\s*(\S+)")


@dataclass(frozen=True, slots=True)
class ProcessTarget:
    """One process: ``leader/0`` or ``coordinator``."""

    process: str

    def __str__(self) -> str:
        return self.process


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """A direction between two clusters, or a cluster and the coordinator.

    Struck are bytes whose sender is ``source``, whoever has connected to whom.
    """

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}{ARROW}{self.target}"


Target = ProcessTarget | LinkTarget


@dataclass(frozen=True, slots=True)
class Known:
    """What exists: the node ids of each cluster, in order. The coordinator is always there."""

    clusters: Mapping[str, Sequence[str]]

    @property
    def processes(self) -> tuple[str, ...]:
        """Every process."""
        nodes = (node for _, nodes in sorted(self.clusters.items()) for node in nodes)
        return (COORDINATOR, *nodes)

    @property
    def ends(self) -> tuple[str, ...]:
        """Every end that a link may have."""
        return (COORDINATOR, *sorted(self.clusters))


def parse_target(text: str, known: Known) -> Target:
    """Reads ``leader``, ``follower1/0``, ``coordinator``, ``link leader->follower1``.

    ``link`` may be left out, and the arrow be the word ``to``, which no shell takes for anything
    else. Raises InvalidRequestError (it cannot be read), EntityNotFoundError (there is no such
    thing; what there is, is named).
    """
    text = " ".join(text[: LONGEST_CHARACTERS + 1].split())
    if not text:
        raise InvalidRequestError("a fault needs a target", remedy=_whats_there(known))
    if len(text) > LONGEST_CHARACTERS:
        raise InvalidRequestError(f"a target has at most {LONGEST_CHARACTERS} characters")
    link = _LINK.fullmatch(text)
    if link is not None:
        return _link(link[1], link[2], known)
    if text.endswith("-") or (text.startswith("link") and " " in text):
        raise InvalidRequestError(
            f"'{text}' is not a link: two ends are needed",
            remedy="Put the arrow in quotes, 'link leader->follower1', for a shell takes > for "
            "itself; or write: link leader to follower1.",
        )
    return ProcessTarget(_process(text, known))


def _link(source: str, target: str, known: Known) -> LinkTarget:
    link = LinkTarget(_end(source, known), _end(target, known))
    if link.source == link.target:
        raise InvalidRequestError(f"a link has two different ends, not '{link.source}' twice")
    return link


def _process(name: str, known: Known) -> str:
    if name in known.processes:
        return name
    nodes = known.clusters.get(name)
    if nodes:
        return nodes[0]
    raise EntityNotFoundError(
        f"there is no process or cluster '{name}'", remedy=_whats_there(known)
    )


def _end(name: str, known: Known) -> str:
    for cluster, nodes in known.clusters.items():
        if name in nodes:
            return cluster
    if name in known.ends:
        return name
    raise EntityNotFoundError(
        f"there is no cluster '{name}' for a link to end at",
        remedy=f"A link's ends are two of: {', '.join(known.ends)}.",
    )


def _whats_there(known: Known) -> str:
    return (
        f"Processes: {', '.join(known.processes)}. "
        f"Links, for example link follower1->coordinator, between: {', '.join(known.ends)}."
    )
