"""What writers and readers of a plan do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from cluster.conformance.calls import FLAWS
from cluster.conformance.draw import Draw
from cluster.conformance.plan import Ask, ClientPlan, Step, Write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cluster.conformance.traits import Frame

_IDS_OF_A_WRITER: Final = 100_000

ADMINISTRATORS_IDS: Final = 800_000
"""Where ids of rows that administrators send begin; those of writers are below."""

CLOSING_IDS: Final = 900_000
"""Where ids of rows that end a run begin."""

_BURST_SECONDS: Final = 2.0


def writers(frame: Frame, names: Sequence[str]) -> Iterator[ClientPlan]:
    """Two writers or more; each writes to any table of any leader."""
    count = Draw(frame.seed, "writers").integer(2, len(names))
    for number, name in enumerate(names[:count]):
        draw = Draw(frame.seed, f"writer {name}")
        batches = frame.count("writes", frame.traffic.batches * draw.scale(0.5, 2.0))
        next_id = frame.first_id + number * _IDS_OF_A_WRITER + 1
        steps = []
        for batch, at in enumerate(_moments(frame, draw, batches)):
            rows = draw.weighted(((1, 4.0), (draw.integer(2, 6), 5.0), (draw.integer(7, 24), 1.0)))
            ids = tuple(range(next_id, next_id + rows))
            next_id += rows
            source = f"{frame.source_prefix}{name}-{batch}"
            write = _write(frame, f"{name} {batch}", source, ids)
            steps.append(Step(at=at, action=write))
            if write.attempts > 1:
                steps += _again(frame, f"{name} {batch}", steps[-1])
        steps.sort(key=lambda step: step.at)
        yield ClientPlan(name=name, steps=tuple(steps))


def _moments(frame: Frame, draw: Draw, count: int) -> tuple[float, ...]:
    """Evenly spread, or several requests close together with long silences between."""
    start, end = frame.window
    if "bursts" not in frame.traits:
        return draw.times(count, start, end)
    times: list[float] = []
    while len(times) < count:
        began = draw.between(start, end - _BURST_SECONDS)
        size = min(count - len(times), draw.integer(2, 8))
        times.extend(draw.times(size, began, began + _BURST_SECONDS))
    return tuple(sorted(times))


def _write(frame: Frame, purpose: str, source: str, ids: tuple[int, ...]) -> Write:
    draw, traits = Draw(frame.seed, f"write {purpose}"), frame.traits
    home, table = draw.pick(frame.places())
    attempts, retry_seconds = draw.integer(2, 6), draw.scale(0.2, 8.0)
    twice = draw.chance(0.12 * traits.get("twins", 0.0))
    flaw = draw.pick(FLAWS) if draw.chance(0.06 * traits.get("flaws", 0.0)) else ""
    astray = draw.chance(0.05 * traits.get("writes-to-followers", 0.0))
    follower = draw.pick(frame.profile.followers)
    retries = "retries" in traits and not (flaw or astray)
    return Write(
        cluster=follower if astray else home.leader,
        database=home.database,
        table=table,
        source=source,
        ids=ids,
        attempts=attempts if retries else 1,
        retry_seconds=retry_seconds,
        twice=twice and not flaw,
        flaw=flaw,
    )


def _again(frame: Frame, purpose: str, step: Step) -> Iterator[Step]:
    """The same request once more, some time later, for some of those that are ever repeated."""
    draw = Draw(frame.seed, f"again {purpose}")
    assert isinstance(step.action, Write), "only requests are repeated"
    if draw.chance(0.15 * frame.traits.get("retries", 0.0)):
        at = draw.between(step.at, frame.window[1])
        yield Step(at=at, action=msgspec.structs.replace(step.action, twice=False, again=True))


def readers(frame: Frame, names: Sequence[str]) -> Iterator[ClientPlan]:
    """One reader stays with a leader, one with each follower, the others roam with a token."""
    profile = frame.profile
    bound = (*profile.followers, profile.leaders[0])[: len(names) - 1]
    for number, name in enumerate(names):
        draw = Draw(frame.seed, f"reader {name}")
        clusters = (
            (bound[number],) if number < len(bound) else (*profile.leaders, *profile.followers)
        )
        if len(clusters) > 1 and "tokens" not in frame.traits:
            continue  # reading here and there without a token promises nothing
        reads = frame.count("reads", frame.traffic.reads * draw.scale(0.4, 2.0))
        steps = [
            Step(at=at, action=_ask(frame, f"{name} {read}", clusters))
            for read, at in enumerate(_moments(frame, draw, reads))
        ]
        yield ClientPlan(name=name, session=name, steps=tuple(steps))


def _ask(frame: Frame, purpose: str, clusters: Sequence[str]) -> Ask:
    draw, traits = Draw(frame.seed, f"ask {purpose}"), frame.traits
    cluster = draw.pick(clusters)
    owned = [place for place in frame.places() if place[0].leader == cluster]
    home, table = draw.pick(owned or frame.places())
    token = "acknowledged" if draw.chance(0.25 * traits.get("tokens", 0.0)) else ""
    bounded = draw.chance(0.25 * traits.get("staleness", 0.0))
    seconds = draw.scale(0.5, 60.0)
    insists, retry_seconds = draw.chance(0.3), draw.scale(0.02, 0.5)
    return Ask(
        cluster=cluster,
        database=home.database,
        table=table,
        token="session" if len(clusters) > 1 else token,
        max_staleness_seconds=seconds if bounded else None,
        attempts=frame.traffic.attempts if insists else 1,
        retry_seconds=retry_seconds,
    )
