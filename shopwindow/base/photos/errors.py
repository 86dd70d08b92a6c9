"""Why a photo cannot be used."""

from __future__ import annotations


class PhotoUnfit(ValueError):
    """Raised for a photo beyond a limit. The message names the limit and the value."""


class PhotoBroken(PhotoUnfit):
    """Raised for bytes that are no photo of a known format. The message names the problem."""
