"""Which links pass through the proxy. Pure.

A link is a pair (dialer, acceptor): a follower cluster dials its leaders, every node dials the
coordinator. A pair passes through the proxy while a fault is between its ends. So do all links that
a cluster dials while a fault is between it and the coordinator: a cluster that cannot be told of
another address must be where the next fault can strike already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.faults.composition import struck_links
from cluster.faults.targets import COORDINATOR, Known

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cluster.coordinator.state import Durable
    from cluster.faults.active import ActiveFault

Pair = tuple[str, str]


def routed_pairs(faults: Iterable[ActiveFault], clusters: Iterable[str]) -> frozenset[Pair]:
    """The pairs (dialer, acceptor) that pass through the proxy, among these clusters."""
    struck = struck_links(faults)
    known = sorted(clusters)
    pairs = {
        (dialer, acceptor)
        for dialer, acceptor in struck
        if dialer in known and (acceptor in known or acceptor == COORDINATOR)
    }
    for dialer in known:
        if (dialer, COORDINATOR) in struck:
            pairs |= {(dialer, acceptor) for acceptor in known if acceptor != dialer}
    return frozenset(pairs)


def dialed(pairs: Iterable[Pair], addresses: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """The pairs with the acceptor's own address, sorted; empty while it has none."""
    return [(dialer, acceptor, addresses.get(acceptor, "")) for dialer, acceptor in sorted(pairs)]


def addresses(durable: Durable, coordinator: str) -> dict[str, str]:
    """Where each cluster's first node, and the coordinator, serve themselves."""
    found = {COORDINATOR: coordinator}
    for cluster in durable.clusters:
        if nodes := durable.cluster_nodes(cluster):
            found[cluster] = nodes[0].grpc_address
    return found


def known(durable: Durable) -> Known:
    """What faults may strike."""
    clusters = sorted(durable.clusters)
    return Known(
        {name: tuple(node.node for node in durable.cluster_nodes(name)) for name in clusters}
    )
