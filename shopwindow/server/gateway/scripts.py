"""The Lua scripts that Envoy runs on requests and replies. They lie in the folder `lua`."""

from __future__ import annotations

from pathlib import Path

TOO_LARGE = "message too large: this one is larger"
"""How the gateway's own error for a large message begins."""
MAX_COMPRESSED_BYTES = 2**18
"""The largest compressed gRPC message. One byte of it becomes 1,032 bytes at most, so 258 MiB in all."""
_FOLDER = Path(__file__).parent / "lua"
_PARTS = ("protobuf", "json", "requests", "replies")


def unframe_script() -> str:
    """Return the script that takes a compressed message out of gRPC's frame."""
    script = (_FOLDER / "unframe.lua").read_text(encoding="utf-8")
    return f"local MOST_COMPRESSED = {MAX_COMPRESSED_BYTES}\n{script}"


def check_script(*, grpc: bool) -> str:
    """Return the script that checks requests and corrects replies.

    Args:
        grpc: Whether it is for gRPC, and not for HTTP.
    """
    settings = f'local IS_GRPC, TOO_LARGE = {"true" if grpc else "false"}, "{TOO_LARGE}"\n'
    return settings + "\n".join((_FOLDER / f"{part}.lua").read_text(encoding="utf-8") for part in _PARTS)
