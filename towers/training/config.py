"""How to train, read from the `training` part of a config file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

PATCH_OBJECTIVES = ("contrastive", "regression")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How to train.

    Attributes:
        steps: optimiser steps.
        batch_size: click pairs per step; each pair's product is the others' negative.
        learning_rate: peak, after 5 % of the steps; cosine decay to zero.
        weight_decay: AdamW.
        scale, margin: of the AM-Softmax.
        form_weight: weight of the title-only and of the photo-only form beside the full one's 1.
        word_dropout: share of title words left out.
        composed_share: share of products that become a composed query: half of them the photo of something else and
            the word that leads from it to the query (see `QueryEdits`), half the product's photo and some words of
            the query.
        keyword_queries: Keyword Enhancement (MAKE, our reading): each product is also trained towards by a query that
            shares clicks with its own, and such queries are never its negatives.
        masked_words: weight of masked language modelling on query and title words.
        masked_patches: weight of masked patch modelling.
        patch_objective: "contrastive" (MPM_R, paper 2) or "regression" (MPM), for the ablation.
        mask_share: share of words or patches that are hidden.
        memory_bank: products of earlier steps kept as further negatives (MBNS); 0 keeps none.
        memory_warmup: steps before the bank is used: its first products come from towers that know nothing.
        same_style: weight of eSSPR's losses over same-style pairs (three PPM, two PDC, two LC), when pairs are given.
        self_distinctiveness, locality: weights of PDC and LC beside PPM's 1.
        pair_batch_size: pairs per step.
        hinge_margin, locality_margin: of PPM and PDC, and of LC; the published code leaves their values open.
        bf16: matrix products in bfloat16, ten times as fast on processors that have it; losses stay in float32.
        save_every: steps between two states that a stopped training goes on from; 0 saves none.
        seed: of everything random.
    """

    steps: int
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    scale: float = 20.0
    margin: float = 0.2
    form_weight: float = 0.5
    word_dropout: float = 0.15
    composed_share: float = 0.3
    keyword_queries: bool = False
    masked_words: float = 0.0
    masked_patches: float = 0.0
    patch_objective: str = "contrastive"
    mask_share: float = 0.15
    memory_bank: int = 0
    memory_warmup: int = 200
    same_style: float = 0.0
    self_distinctiveness: float = 1.0
    locality: float = 1.0
    pair_batch_size: int = 64
    hinge_margin: float = 0.2
    locality_margin: float = 0.01
    bf16: bool = True
    save_every: int = 200
    seed: int = 7

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainingConfig:
        """From the `training` part of a config file; unknown keys are refused."""
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"training: unknown keys {sorted(unknown)}; known: {[f.name for f in fields(cls)]}")
        return cls(**values)

    def __post_init__(self) -> None:
        if self.patch_objective not in PATCH_OBJECTIVES:
            raise ValueError(
                f"patch_objective: must be one of {', '.join(PATCH_OBJECTIVES)}, got {self.patch_objective!r}"
            )
