"""Channel arguments of the C-core, from limits (``include/grpc/impl/channel_arg_names.h``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.limits import Limits
    from cluster.transport.credentials import ChannelCredentials

Options = tuple[tuple[str, int | str], ...]

_FIRST_RECONNECT_MS = 50
_MAX_RECONNECT_MS = 1000
"""Back-off between attempts to connect. gRPC's defaults (1 s to 2 min) suit the internet; nodes
here restart within a second and must be found again as soon."""


def _common_options(limits: Limits) -> Options:
    return (
        ("grpc.max_receive_message_length", limits.grpc_message_bytes),
        # Sizes to send are checked by us, with an error that names the limit.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", limits.grpc_metadata_bytes),
        ("grpc.absolute_max_metadata_size", limits.grpc_metadata_bytes),
        ("grpc.keepalive_time_ms", round(limits.grpc_keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", round(limits.grpc_keepalive_timeout_seconds * 1000)),
        # Long streams may be idle for hours; pings without data are what keeps them honest.
        ("grpc.http2.max_pings_without_data", 0),
    )


def server_options(limits: Limits) -> Options:
    """For a server."""
    return (
        *_common_options(limits),
        # Two servers on one port would share its connections in silence.
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", limits.grpc_calls_per_connection),
        # Peers may ping as often as our own clients do, with room for jitter.
        (
            "grpc.http2.min_ping_interval_without_data_ms",
            round(limits.grpc_keepalive_seconds * 500),
        ),
    )


def channel_options(limits: Limits, credentials: ChannelCredentials | None) -> Options:
    """For a channel."""
    options: Options = (
        *_common_options(limits),
        ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
        ("grpc.min_reconnect_backoff_ms", _MAX_RECONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", _MAX_RECONNECT_MS),
        # One connection a channel: else channels of a process share one, and its back-off.
        ("grpc.use_local_subchannel_pool", 1),
        # Peers are local or named on purpose; a proxy of the environment is never meant.
        ("grpc.enable_http_proxy", 0),
    )
    if credentials is not None and credentials.server_name is not None:
        options += (("grpc.ssl_target_name_override", credentials.server_name),)
    return options
