"""Reports on disk: what a campaign leaves behind, and reading it again.

::

    DIR/latest -> CAMPAIGN            the last campaign that ended
    DIR/CAMPAIGN/summary.json         the sum, and an outcome for each seed
    DIR/CAMPAIGN/junit.xml            the same for CI
    DIR/CAMPAIGN/SEED/verdict.json    what each rule says, and the lines that replay failures
    DIR/CAMPAIGN/SEED/history.jsonl   everything that happened
    DIR/CAMPAIGN/SEED/faults.json     faults as scheduled, and as shrunk
    DIR/CAMPAIGN/SEED/timeline.html   a picture of it
    DIR/CAMPAIGN/SEED/error.txt       the traceback, if the run broke
    DIR/CAMPAIGN/SEED/shrunk-RULE/    the same for the run that is left after shrinking
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cluster.conformance.checkers.parameters import (
    RuleParameters,  # noqa: TC001 - msgspec reads annotations
)
from cluster.conformance.faults import Schedule
from cluster.conformance.history import History
from cluster.conformance.junit import junit_xml
from cluster.conformance.summary import SeedOutcome, violations_of
from cluster.conformance.system import Feature, Profile
from cluster.conformance.timeline_page import timeline_page
from cluster.conformance.verdict import Verdict  # noqa: TC001 - msgspec reads annotations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cluster.conformance.campaign import SeedReport
    from cluster.conformance.request import RunRequest, RunResult
    from cluster.conformance.summary import Summary

VERDICT: Final = "verdict.json"
HISTORY: Final = "history.jsonl"
LATEST: Final = "latest"


class ReportError(ValueError):
    """A stored report cannot be read; the message names the file and why."""


class StoredProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A :class:`Profile` as it is written: in order, features by name."""

    leaders: tuple[str, ...]
    followers: tuple[str, ...]
    streaming: tuple[str, ...]
    strict: tuple[str, ...]
    features: tuple[str, ...]

    @classmethod
    def of(cls, profile: Profile) -> StoredProfile:
        """To be written."""
        return cls(
            leaders=profile.leaders,
            followers=profile.followers,
            streaming=tuple(sorted(profile.streaming)),
            strict=tuple(sorted(profile.strict)),
            features=tuple(sorted(feature.name for feature in profile.features)),
        )

    def profile(self) -> Profile:
        """Raises ValueError for a feature that this build does not know."""
        unknown = [name for name in self.features if name not in Feature.__members__]
        if unknown:
            raise ValueError(f"this build knows no feature {unknown[0]!r}")
        return Profile(
            leaders=self.leaders,
            followers=self.followers,
            streaming=frozenset(self.streaming),
            strict=frozenset(self.strict),
            features=frozenset(Feature[name] for name in self.features),
        )


class StoredVerdicts(msgspec.Struct, frozen=True, kw_only=True):
    """What ``verdict.json`` holds. ``outcome`` is None in the folder of a shrunk run."""

    seed: int
    system: str
    mutant: str
    error: str
    digest: str
    virtual_seconds: float
    real_seconds: float
    verdicts: tuple[Verdict, ...]
    profile: StoredProfile | None = None
    parameters: RuleParameters | None = None
    outcome: SeedOutcome | None = None


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One run, read back."""

    folder: Path
    verdicts: StoredVerdicts
    history: History


@dataclass(frozen=True, slots=True)
class CampaignStore:
    """The folder of one campaign. Makes folders as they are needed."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        """Where its reports go."""
        return self.root / self.name

    def save_seed(self, request: RunRequest, report: SeedReport) -> Path:
        """Writes all there is of a seed; returns its folder."""
        folder = self.folder / str(report.result.seed)
        _save_run(folder, request, report.result, report.outcome)
        shrunk = {
            rule: {"faults": found.schedule.faults, "skipped_operations": found.request.skipped}
            for rule, found in report.shrunk.items()
        }
        _write_json(
            folder / "faults.json",
            {"scheduled": report.result.schedule.faults, "shrunk": shrunk},
        )
        for rule, found in report.shrunk.items():
            _save_run(folder / f"shrunk-{rule}", found.request, found.result, None)
        return folder

    def save_summary(self, summary: Summary) -> None:
        """Writes the sum, and makes this campaign the latest one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _write_json(self.folder / "summary.json", {"campaign": self.name, "summary": summary})
        (self.folder / "junit.xml").write_text(junit_xml(self.name, summary))
        fresh = self.root / f".{LATEST}-{self.name}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self.name)
        fresh.replace(self.root / LATEST)


def save_timeline(path: Path, result: RunResult) -> None:
    """Writes the picture of a run."""
    path.write_text(
        timeline_page(
            result.history,
            result.schedule,
            violations_of(result),
            title=f"seed {result.seed}",
        )
    )


def stored_runs(folder: Path) -> Iterator[StoredRun]:
    """Every run below a folder, in order of their paths. Raises ReportError."""
    if not folder.is_dir():
        raise ReportError(f"{folder} is no folder")
    # resolved: a path may be the link named ``latest``
    for path in sorted(folder.resolve().rglob(VERDICT), key=_by_numbers):
        yield _load_run(path.parent)


def _by_numbers(path: Path) -> list[tuple[int, int, str]]:
    """Folders: seeds in order of their numbers, other names by their letters, parents first."""
    return [
        (0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part)
        for part in path.parent.parts
    ]


def _load_run(folder: Path) -> StoredRun:
    try:
        verdicts = msgspec.json.decode((folder / VERDICT).read_bytes(), type=StoredVerdicts)
    except (msgspec.DecodeError, OSError) as error:
        raise ReportError(f"{folder / VERDICT}: {error}") from error
    try:
        with (folder / HISTORY).open("rb") as lines:
            history = History.parse(lines)
    except (ValueError, OSError) as error:
        raise ReportError(f"{folder / HISTORY}: {error}") from error
    return StoredRun(folder, verdicts, history)


def _save_run(
    folder: Path, request: RunRequest, result: RunResult, outcome: SeedOutcome | None
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / HISTORY).open("wb") as file:
        file.writelines(result.history.lines())
    stored = StoredVerdicts(
        seed=result.seed,
        system=request.system,
        mutant=request.mutant,
        error=result.error,
        digest=result.history.digest(),
        virtual_seconds=result.virtual_seconds,
        real_seconds=round(result.real_seconds, 3),
        verdicts=result.verdicts,
        profile=StoredProfile.of(result.profile) if result.profile is not None else None,
        parameters=result.parameters,
        outcome=outcome,
    )
    _write_json(folder / VERDICT, stored)
    if result.error:
        (folder / "error.txt").write_text(result.error)
    save_timeline(folder / "timeline.html", result)


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def parse_schedule_file(text: str) -> Schedule:
    """A schedule: ``faults.json`` of a report (as scheduled), or ``{"faults": [...]}``.

    Raises ValueError.
    """
    try:
        value = msgspec.json.decode(text)
        faults = value.get("scheduled", value.get("faults")) if isinstance(value, dict) else value
        return msgspec.convert({"faults": faults}, type=Schedule)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"not a schedule of faults: {error}") from error
