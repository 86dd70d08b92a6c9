"""Measure how good the towers are: judged queries, same-style products, composed queries and modality weights."""

from __future__ import annotations
