"""How a command's options name the files of an encrypted connection and of a key."""

from __future__ import annotations

from typing import Any

from .options import Tls


def client_options(options: Any) -> dict[str, Any]:
    """Return the arguments `tls` and `token` of a `RetrievalClient`.

    Args:
        options: Has the attributes tls (a bool), tls_ca, tls_certificate, tls_key and key_file (paths or None), as the
            options of commands and of load tests do.

    Raises:
        ValueError: The key's file cannot be read, or a certificate has no key.
    """
    tls = token = None
    if options.tls or options.tls_ca or options.tls_certificate or options.tls_key:
        tls = Tls(roots=options.tls_ca, certificate=options.tls_certificate, key=options.tls_key)
    if options.key_file is not None:
        try:
            token = options.key_file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise ValueError(f"key file {options.key_file}: cannot be read: {error}") from None
    return {"tls": tls, "token": token}
