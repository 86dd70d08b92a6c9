"""Ablation: the same training with one thing changed at a time, to see what each change costs."""

from __future__ import annotations
