"""How good the towers are: rankings of judged queries, same-style products, composed queries and the gates."""

from __future__ import annotations
