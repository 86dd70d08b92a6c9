"""The gateway: an Envoy proxy in front of Triton that encrypts, checks keys, and bounds what callers send."""

from shopwindow.server.gateway.keys import KeysInvalid
from shopwindow.server.gateway.options import GatewayOptions
from shopwindow.server.gateway.process import Gateway

__all__ = ["Gateway", "GatewayOptions", "KeysInvalid"]
