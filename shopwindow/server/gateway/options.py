"""The options of a gateway."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shopwindow.server.options import check_access

MAX_GRPC_BYTES = 192 * 2**20
"""The largest gRPC message of a caller: a request's photos, of 160 MiB at most, and its texts."""
MAX_HTTP_BYTES = 64_000_000
"""The largest HTTP body of a caller. A larger one could end Triton 2.51 (CVE-2025-23310)."""


@dataclass(frozen=True, kw_only=True)
class GatewayOptions:
    """How callers reach the server.

    Args:
        host: Address or name to which the three ports bind.
        http_port: Port of the HTTP endpoint. 0 picks a free port, also for the next two.
        grpc_port: Port of the gRPC endpoint.
        metrics_port: Port of the Prometheus metrics.
        certificate: File with the server's certificate and its chain, PEM; None for plain text.
        key: File with the certificate's private key, PEM.
        client_ca: File with the authorities that sign callers' certificates, PEM; None asks for no certificate.
        keys: File with the callers' keys, see `keys.read_keys`; None asks for no key.
        expose: Protocols of CLOSED_PROTOCOLS that callers may use.
    """

    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    keys: Path | None = None
    expose: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_access(self.http_port, self.grpc_port, self.metrics_port, self.expose)
        if (self.certificate is None) != (self.key is None):
            given, missing = ("certificate", "key") if self.certificate else ("key", "certificate")
            raise ValueError(f"TLS needs a certificate and its key: {given} is given, {missing} is not")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("client_ca asks callers for certificates, which needs TLS: give certificate and key too")

    @property
    def files(self) -> list[Path]:
        """Files that may be replaced while the gateway runs."""
        return [file for file in (self.certificate, self.key, self.client_ca, self.keys) if file is not None]
