"""How to train, read from the `training` part of a config file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from shopwindow.towers.objectives.contrast import KINDS

PATCH_OBJECTIVES = ("contrastive", "regression")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How to train.

    Attributes:
        steps: optimiser steps.
        text_steps: the first of the steps train the texts alone, queries towards titles; then photos learn to fit them.
            0 trains all together from first to last.
        text_rate: learning rate of the text encoders and projections once photos learn, as a share of what it is for
            the others; 0 leaves them as they are.
        text_batch_size: click pairs per step and process while texts learn alone; 0 for `batch_size`.
        batch_size: click pairs per step and process; each pair's product is the others' negative.
        learning_rate: peak, after 5 % of the steps; cosine decay to zero. Once for the texts, once for what follows.
        weight_decay: AdamW.
        contrast: "am_softmax", "softmax" or "sigmoid"; see `shopwindow.towers.objectives.contrast`.
        scale, margin: of the contrast; the softmax has no margin.
        cross_device: contrast with the products and queries of all processes (CDNS), so that N processes train as one
            with N times the batch; False contrasts each process's rows with one another only. The memory bank always
            holds the products of all.
        title_weight, photo_weight: of the title-only and of the photo-only form (QIM) beside the full one's 1.
        word_dropout: share of title words left out.
        colour_dropout: share of titles that lose all their colour words, so that the photo has to tell the colour.
        composed_share: share of products that become a composed query: half of them the photo of something else and
            the word that leads from it to the query (see `QueryEdits`), half the product's photo and some words of
            the query.
        keyword_queries: Keyword Enhancement (MAKE, our reading): each product is also trained towards by a query that
            shares clicks with its own and clicked the product too, so that it is never among its negatives.
        masked_words: weight of masked language modelling on query and title words.
        masked_patches: weight of masked patch modelling.
        patch_objective: "contrastive" (MPM_R, paper 2) or "regression" (MPM), for the ablation.
        mask_share, patch_mask_share: share of the words, of the patches, that are hidden.
        memory_bank: products of earlier steps kept as further negatives (MBNS); 0 keeps none.
        memory_warmup: steps before the bank is used: its first products come from towers that know nothing.
        same_style: weight of eSSPR's losses over same-style pairs (three PPM, two PDC, two LC), when pairs are given.
        self_distinctiveness, locality: weights of PDC and LC beside PPM's 1.
        pair_batch_size: pairs per step and process.
        hinge_margin, locality_margin: of PPM and PDC, and of LC; the published code leaves their values open.
        hold_out: share of the products that training never sees, neither their titles, photos, clicks nor pairs; see
            `shopwindow.towers.data.holdout`.
        validation_share: share of the queries whose clicks are kept out of training, to validate with: their recall@10
            is measured, and the weights with the best one are what is kept. 0 does not validate.
        validate_every: steps between two validations; the last step is followed by one too.
        validation_products: products that a validation ranks, drawn at random beside the clicked ones, which are
            always among them.
        patience: training stops after this many validations in a row without a better one; 0 never stops. The
            learning rate still falls towards `steps`, so a run that stops early ends before it has come down.
        device: "auto" (a GPU when there is one), "cpu" or "cuda".
        compile: compile the transformer stacks with torch.compile, which takes minutes at the start and pays in long
            runs on a GPU.
        bf16: matrix products in bfloat16, ten times as fast on processors that have it; losses stay in float32.
        save_every: steps between two states that a stopped training goes on from; 0 saves none.
        seed: of everything random.
    """

    steps: int
    text_steps: int = 0
    text_rate: float = 0.0
    text_batch_size: int = 0
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    contrast: str = "am_softmax"
    scale: float = 20.0
    margin: float = 0.2
    cross_device: bool = True
    title_weight: float = 0.5
    photo_weight: float = 1.0
    word_dropout: float = 0.0
    colour_dropout: float = 0.33
    composed_share: float = 0.3
    keyword_queries: bool = False
    masked_words: float = 0.0
    masked_patches: float = 0.0
    patch_objective: str = "contrastive"
    mask_share: float = 0.15
    patch_mask_share: float = 0.25
    memory_bank: int = 0
    memory_warmup: int = 200
    same_style: float = 0.0
    self_distinctiveness: float = 1.0
    locality: float = 1.0
    pair_batch_size: int = 64
    hinge_margin: float = 0.2
    locality_margin: float = 0.01
    hold_out: float = 0.0
    validation_share: float = 0.0
    validate_every: int = 500
    validation_products: int = 5_000
    patience: int = 0
    device: str = "auto"
    compile: bool = False
    bf16: bool = True
    save_every: int = 200
    seed: int = 7

    def texts_only(self, step: int) -> bool:
        """Whether a step, counted from 0, trains the texts alone; see `text_steps`."""
        return step < self.text_steps

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainingConfig:
        """From the `training` part of a config file; unknown keys are refused."""
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"training: unknown keys {sorted(unknown)}; known: {[f.name for f in fields(cls)]}")
        return cls(**values)

    def __post_init__(self) -> None:
        for name, choices in (("contrast", KINDS), ("patch_objective", PATCH_OBJECTIVES), ("device", DEVICES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        for name in ("hold_out", "validation_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 0 and below 1, got {getattr(self, name)}")
        for name, least in (
            ("text_steps", 0),
            ("text_batch_size", 0),
            ("validate_every", 1),
            ("validation_products", 1),
            ("patience", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: must be at least {least}, got {getattr(self, name)}")
        if self.text_steps >= self.steps:
            raise ValueError(f"text_steps: must be below steps {self.steps}, got {self.text_steps}")
        if self.patience and not self.validation_share:
            raise ValueError(f"patience: {self.patience} validations need a validation_share above 0, got 0")
