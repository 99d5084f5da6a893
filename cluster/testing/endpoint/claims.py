"""What may be asked of endpoints, and what they may be judged by: from their URLs and profile."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cluster.conformance.checkers.parameters import RuleParameters
from cluster.conformance.doors_rest import REST_SECONDS
from cluster.conformance.system import Feature, Profile
from cluster.conformance.target import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cluster.conformance.request import Endpoint, Target

GRPC_FEATURES: Final = frozenset(
    {
        Feature.POSITIONS,
        Feature.AT_LEAST,
        Feature.STALENESS,
        Feature.HIDDEN_REASON,
        Feature.SOURCE_IDS,
        Feature.SEAL,
        Feature.COMMANDS,
    }
)
"""What Remora's gRPC always offers."""

CLAIMABLE_OVER_REST: Final = frozenset({Feature.SOURCE_IDS, Feature.SEAL, Feature.COMMANDS})
"""What a REST endpoint may offer if its profile says so; Azure's offer none for a black box: rows
sent twice are there twice, nothing seals on command, and a schema that changes is cached for
minutes by streaming ingestion."""

CLAIMABLE: Final = CLAIMABLE_OVER_REST | {Feature.CAPABILITY, Feature.ATTACH, Feature.SHARING}
"""What a profile may claim for any endpoint. Nothing else can be seen or done from outside."""

GRPC_CALL_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of a run. ``call``: a client gives up; a change of capability has three times that.

    ``visible``: an acknowledgement is believed so long after it came.
    """

    safety: float
    liveness: float
    call: float
    visible: float

    @property
    def longest(self) -> float:
        """No run takes so long: getting ready, acting, catching up, sealing, cleaning, and calls
        that hang at the end of each."""
        return 3 * self.liveness + self.safety + 30 * self.call + 600


def is_rest(endpoint: Endpoint) -> bool:
    """It speaks Kusto's REST API."""
    return endpoint.url.startswith(("http://", "https://"))


def address_of(url: str) -> str:
    """``HOST:PORT`` of a gRPC URL; ``localhost`` is an address too."""
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    return f"[{host}]:{parts.port}" if host and ":" in host else f"{host}:{parts.port}"


def is_loopback(url: str) -> bool:
    """The URL's host is this machine, by its name or address alone."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_target(target: Target, environment: Mapping[str, str]) -> None:
    """Raises TargetError for what must be known before anything is sent anywhere."""
    endpoints = (*target.leaders, *target.followers)
    if len(target.leaders) != 1:
        raise TargetError("a run from outside has one leader; run it once for each")
    urls = [endpoint.url for endpoint in endpoints]
    if target.coordinator_url:
        urls.append(target.coordinator_url)
    far = [url for url in urls if not is_loopback(url)]
    if far and not target.confirmed:
        raise TargetError(
            f"{far[0]} is not on this machine: tables that begin with {target.table_prefix} will "
            f"be made in {target.database!r} and dropped again; agree with --yes, or "
            "'confirmed = true' in the profile"
        )
    for endpoint in endpoints:
        _check_token(endpoint, environment)
    if target.coordinator_url and any(is_rest(endpoint) for endpoint in endpoints):
        raise TargetError("coordinator: has a say over gRPC endpoints only; use commands")
    features_of(target)


def _check_token(endpoint: Endpoint, environment: Mapping[str, str]) -> None:
    variable = endpoint.token_variable
    if not variable:
        return
    if not is_rest(endpoint):
        raise TargetError(f"{endpoint.cluster}: tokens are for http(s) endpoints only")
    if not environment.get(variable):
        raise TargetError(f"{endpoint.cluster}: the environment variable {variable} is not set")
    if endpoint.url.startswith("http://") and not is_loopback(endpoint.url):
        raise TargetError(f"{endpoint.cluster}: a token is not sent over plain http")


def features_of(target: Target) -> frozenset[Feature]:
    """What all endpoints offer together. Raises TargetError for a claim that cannot be used."""
    claimed = frozenset(Feature[name] for name in target.features)
    if wrong := sorted(feature.name for feature in claimed - CLAIMABLE - GRPC_FEATURES):
        raise TargetError(f"features: {wrong[0]} cannot be seen from outside")
    endpoints = (*target.leaders, *target.followers)
    rest = any(is_rest(endpoint) for endpoint in endpoints)
    if rest and (wrong := sorted(f.name for f in claimed - CLAIMABLE)):
        raise TargetError(f"features: {wrong[0]} does not exist over Kusto's REST API")
    found = set(claimed & CLAIMABLE_OVER_REST) if rest else set(GRPC_FEATURES)
    commands = dict(target.commands)
    for feature, needed in (
        (Feature.CAPABILITY, ("capability-on", "capability-off")),
        (Feature.ATTACH, ("attach", "detach")),
    ):
        by_command = all(name in commands for name in needed)
        if by_command or (target.coordinator_url and _is_free(feature, claimed)):
            found.add(feature)
        elif feature in claimed:
            raise TargetError(
                f"features: {feature.name} needs a coordinator, or commands {' and '.join(needed)}"
            )
    if Feature.SHARING in claimed:
        if Feature.ATTACH not in found:
            raise TargetError("features: SHARING needs ATTACH")
        found.add(Feature.SHARING)
    return frozenset(found)


def _is_free(feature: Feature, claimed: frozenset[Feature]) -> bool:
    """A database that somebody follows is detached only where its owner said so."""
    return feature is Feature.CAPABILITY or feature in claimed


def profile_of(target: Target) -> Profile:
    """The clusters as a run sees them."""
    endpoints = (*target.leaders, *target.followers)
    return Profile(
        leaders=_names(target.leaders),
        followers=_names(target.followers),
        streaming=frozenset(e.cluster for e in endpoints if e.streaming),
        features=features_of(target),
        strict=target.strict,
    )


def _names(endpoints: Iterable[Endpoint]) -> tuple[str, ...]:
    return tuple(endpoint.cluster for endpoint in endpoints)


def times_of(target: Target, safety: float | None, liveness: float | None) -> Times:
    """A run's times: those asked for, else the profile's, else what the schemes are known for."""
    rest = any(is_rest(endpoint) for endpoint in (*target.leaders, *target.followers))
    if liveness is None:
        liveness = target.liveness_seconds
    visible = target.visible_seconds
    visible = (10.0 if rest else 0.0) if visible is None else visible
    call = visible + (REST_SECONDS if rest else GRPC_CALL_SECONDS) + 5.0
    if target.commands:  # a change of capability or attachment is given three times as long
        call = max(call, target.command_seconds / 3 + 5.0)
    return Times(
        safety=(120.0 if rest else 30.0) if safety is None else safety,
        liveness=(300.0 if rest else 60.0) if liveness is None else liveness,
        call=call,
        visible=visible,
    )


def parameters_of(target: Target, times: Times) -> RuleParameters:
    """What rules assume of times nobody can see. Freshness is minutes where liveness is."""
    return RuleParameters(
        notice_seconds=max(15.0, times.liveness),
        late_effect_seconds=3 * times.call + times.liveness,
        unsealed_seconds=target.unsealed_seconds,
    )
