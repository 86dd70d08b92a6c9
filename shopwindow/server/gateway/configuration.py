"""The gateway's configuration, in the form of Envoy's v3 API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shopwindow.server.gateway.keys import CallerKey
from shopwindow.server.gateway.options import MAX_GRPC_BYTES, MAX_HTTP_BYTES
from shopwindow.server.gateway.routes import DECOMPRESS, UNFRAME, grpc_routes, http_routes, metrics_routes
from shopwindow.server.gateway.scripts import TOO_LARGE, check_script, unframe_script

Json = dict[str, Any]

_TYPE = "type.googleapis.com/envoy."
# Envoy refuses requests before it takes more memory than this.
_MOST_MEMORY = 8 * MAX_GRPC_BYTES
# How many bytes one compressed byte may become. zlib makes 1,032 at most. A whole gRPC message is decompressed at once,
# and has at most MAX_COMPRESSED_BYTES. An HTTP body is decompressed as it arrives, in pieces of at most _PIECE_BYTES.
_MOST_INFLATED_GRPC, _MOST_INFLATED_HTTP = 1032, 100
_PIECE_BYTES = 2**20
_SLOWEST_REQUEST_S = 60  # a caller has this long to send a whole request


def bootstrap(folder: Path, upstream: Mapping[str, int]) -> Json:
    """Return what stays the same while the gateway runs.

    Args:
        folder: The folder of listeners.json and of the socket of Envoy's own interface.
        upstream: Triton's ports on 127.0.0.1, by "http", "grpc" and "metrics".
    """
    own = {"pipe": {"path": str(folder / "admin")}}
    return {
        "node": {"id": "shopwindow", "cluster": "shopwindow"},
        "admin": {"address": own},
        "dynamic_resources": {"lds_config": {"path_config_source": {"path": str(folder / "listeners.json")}}},
        "static_resources": {
            "clusters": [
                *(_cluster(name, _address("127.0.0.1", port), http2=name == "grpc") for name, port in upstream.items()),
                _cluster("gateway", own, http2=False),
            ]
        },
        # A thread that hangs ends the gateway, and then the watch starts it again.
        "watchdogs": {thread: {"kill_timeout": "10s"} for thread in ("main_thread_watchdog", "worker_watchdog")},
        "overload_manager": {
            "refresh_interval": "0.25s",
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.fixed_heap",
                    "typed_config": {
                        "@type": f"{_TYPE}extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                        "max_heap_size_bytes": _MOST_MEMORY,
                    },
                }
            ],
            "actions": [
                {
                    "name": f"envoy.overload_actions.{action}",
                    "triggers": [{"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": share}}],
                }
                for action, share in (("shrink_heap", 0.5), ("stop_accepting_requests", 0.95))
            ],
        },
    }


def listeners(
    host: str,
    ports: Mapping[str, int],
    *,
    owner_headers: Mapping[str, str],
    keys: Sequence[CallerKey],
    tls: Json | None,
    expose: Sequence[str],
    version: str,
) -> Json:
    """Return what may change while the gateway runs: the three listeners, with their certificates and keys.

    Args:
        host: The IP address to bind to.
        ports: The ports by "http", "grpc" and "metrics".
        owner_headers: Headers that open Triton's protocols. Each request to Triton gets them.
        keys: The callers who may use the server; empty: everybody.
        tls: Envoy's DownstreamTlsContext; None for plain text.
        expose: Closed protocols that callers may use.
        version: A text that differs from that of earlier listeners.
    """
    routes = {"grpc": grpc_routes(expose), "http": http_routes(expose), "metrics": metrics_routes()}
    sizes = {"grpc": MAX_GRPC_BYTES, "http": MAX_HTTP_BYTES, "metrics": 2**16}
    found = []
    for name, port in ports.items():
        manager = _manager(name, routes[name], owner_headers, keys, sizes[name])
        chain: Json = {"filters": [{"name": "http", "typed_config": manager}]}
        if tls is not None:
            chain["transport_socket"] = {"name": "tls", "typed_config": tls}
        found.append(
            {
                "@type": f"{_TYPE}config.listener.v3.Listener",
                "name": name,
                "address": _address(host, port),
                "filter_chains": [chain],
                "per_connection_buffer_limit_bytes": _PIECE_BYTES,
            }
        )
    return {"version_info": version, "resources": found}


def tls_context(certificate: str, key: str, client_ca: str | None) -> Json:
    """Return Envoy's DownstreamTlsContext for PEM texts."""
    common: Json = {
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificates": [
            {"certificate_chain": {"inline_string": certificate}, "private_key": {"inline_string": key}}
        ],
    }
    if client_ca is not None:
        common["validation_context"] = {"trusted_ca": {"inline_string": client_ca}}
    return {
        "@type": f"{_TYPE}extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": common,
        "require_client_certificate": client_ca is not None,
    }


def _manager(
    name: str, routes: list[Json], owner_headers: Mapping[str, str], keys: Sequence[CallerKey], most_bytes: int
) -> Json:
    added = [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in owner_headers.items()
    ]
    return {
        "@type": f"{_TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "http_filters": _filters(keys, grpc=name == "grpc"),
        "route_config": {
            "name": name,
            "virtual_hosts": [
                {
                    "name": name,
                    "domains": ["*"],
                    "routes": routes,
                    "request_body_buffer_limit": most_bytes,
                    "request_headers_to_add": added,
                    # Triton gets no keys. It compresses no replies, because the script could not read their errors.
                    "request_headers_to_remove": ["authorization", "accept-encoding"],
                }
            ],
        },
        # So that no spelling of a path gets past the routes.
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "use_remote_address": True,
        "skip_xff_append": True,
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "request_headers_timeout": "10s",
        "request_timeout": f"{_SLOWEST_REQUEST_S}s",
        "http2_protocol_options": {
            "max_concurrent_streams": 1024,
            "initial_stream_window_size": 2**20,
            "initial_connection_window_size": 4 * 2**20,
        },
        "local_reply_config": {
            "mappers": [
                *_unauthenticated(keys),
                _reply(413, f"{TOO_LARGE} than {most_bytes} bytes; send fewer rows or smaller photos at once"),
                _reply(429, "too many requests: the caller has used up its requests per second; send again later"),
            ]
        },
    }


def _reply(status: int, text: str) -> Json:
    """Return what the gateway itself says with an HTTP status."""
    return {"filter": _has_status(status), "body_format_override": {"text_format_source": {"inline_string": text}}}


def _unauthenticated(keys: Sequence[CallerKey]) -> list[Json]:
    """Return what the gateway says to a caller without a key. Envoy itself would speak of a missing permission."""
    if not keys:
        return []
    sends_another = {"invert_match": True, "treat_missing_header_as_empty": True}
    without_key = [{"header_filter": {"header": {**_sends_key_of(caller), **sends_another}}} for caller in keys]
    return [
        {
            **_reply(403, "no key, or a wrong one: send `authorization: Bearer KEY` with a key of this server"),
            "filter": {"and_filter": {"filters": [_has_status(403), *without_key]}},
            "status_code": 401,
        }
    ]


def _has_status(status: int) -> Json:
    return {
        "status_code_filter": {"comparison": {"op": "EQ", "value": {"default_value": status, "runtime_key": "unused"}}}
    }


def _sends_key_of(caller: CallerKey) -> Json:
    """Return Envoy's HeaderMatcher for a caller's key."""
    return {"name": "authorization", "string_match": {"exact": f"Bearer {caller.key}"}}


def _filters(keys: Sequence[CallerKey], *, grpc: bool) -> list[Json]:
    filters = []
    if keys:
        may_call = [{"header": _sends_key_of(caller)} for caller in keys]
        policy = {"permissions": [{"any": True}], "principals": may_call}
        filters.append(_filter("rbac", "RBAC", {"rules": {"policies": {"callers": policy}}}))
    limited = [(caller, caller.requests_per_second) for caller in keys if caller.requests_per_second is not None]
    if limited:
        filters.append(
            _filter(
                "local_ratelimit",
                "LocalRateLimit",
                {
                    "stat_prefix": "callers",
                    "rate_limited_as_resource_exhausted": True,
                    "filter_enabled": _ALWAYS,
                    "filter_enforced": _ALWAYS,
                    "token_bucket": _bucket(1_000_000_000),  # of all callers together, out of reach
                    "rate_limits": [
                        {
                            "actions": [
                                {
                                    "header_value_match": {
                                        "descriptor_value": caller.name,
                                        "headers": [_sends_key_of(caller)],
                                    }
                                }
                            ]
                        }
                        for caller, _ in limited
                    ],
                    "descriptors": [
                        {"entries": [{"key": "header_match", "value": caller.name}], "token_bucket": _bucket(rate)}
                        for caller, rate in limited
                    ],
                },
            )
        )
    # Only the routes of compressed requests enable these two.
    filters.append({**_lua(unframe_script()), "name": UNFRAME, "disabled": True})
    filters.append(
        {**_gunzip(_MOST_INFLATED_GRPC if grpc else _MOST_INFLATED_HTTP), "name": DECOMPRESS, "disabled": True}
    )
    filters.append(_lua(check_script(grpc=grpc)))
    filters.append(_filter("router", "Router", {"suppress_envoy_headers": True}))
    return filters


def _lua(script: str) -> Json:
    return _filter("lua", "Lua", {"default_source_code": {"inline_string": script}})


def _gunzip(most_inflated: int) -> Json:
    library = {"@type": f"{_TYPE}extensions.compression.gzip.decompressor.v3.Gzip", "window_bits": 15}
    off = {"default_value": False, "runtime_key": "unused"}
    return _filter(
        "decompressor",
        "Decompressor",
        {
            "decompressor_library": {
                "name": "gzip",
                "typed_config": {**library, "max_inflate_ratio": most_inflated},
            },
            "request_direction_config": {
                "advertise_accept_encoding": False,
                "common_config": {"ignore_no_transform_header": True},
            },
            "response_direction_config": {"common_config": {"enabled": off}},
        },
    )


_ALWAYS: Json = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}, "runtime_key": "unused"}


def _bucket(per_second: int) -> Json:
    return {"max_tokens": per_second, "tokens_per_fill": per_second, "fill_interval": "1s"}


def _filter(name: str, kind: str, settings: Json) -> Json:
    typed = {"@type": f"{_TYPE}extensions.filters.http.{name}.v3.{kind}", **settings}
    return {"name": f"envoy.filters.http.{name}", "typed_config": typed}


def _cluster(name: str, address: Json, *, http2: bool) -> Json:
    # Triton itself decides how much it takes at once, so these limits of Envoy are out of reach.
    most = 2**31
    protocol: Json = {"http2_protocol_options": {}} if http2 else {"http_protocol_options": {}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        # No two callers share a connection to Triton, so a fault of one connection harms one caller only.
        "connection_pool_per_downstream_connection": True,
        "circuit_breakers": {
            "thresholds": [
                {"max_connections": most, "max_pending_requests": most, "max_requests": most, "max_retries": 3}
            ]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": protocol,
            }
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port, "ipv4_compat": host == "::"}}
