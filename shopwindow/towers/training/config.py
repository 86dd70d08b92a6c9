"""The settings of a training, from the `training` part of a config file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from shopwindow.towers.objectives.contrast import KINDS

PATCH_OBJECTIVES = ("contrastive", "regression")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The settings of a training.

    Attributes:
        steps: number of optimiser steps.
        text_steps: number of first steps that train only the texts, queries towards titles. After them, photos learn to
            fit the texts. 0 trains everything together from the first step.
        text_rate: learning rate of the text encoders and projections after `text_steps`, as a share of the learning
            rate of the other weights. 0 leaves them unchanged.
        text_batch_size: click pairs per step and process during `text_steps`. 0 means `batch_size`.
        batch_size: click pairs per step and process. The product of each pair is a negative of the others.
        learning_rate: peak of the learning rate, after 5 % of the steps. Then it falls to zero along a cosine. The
            `text_steps` and the steps after them each have such a rise and fall.
        weight_decay: weight decay of AdamW.
        contrast: "am_softmax", "softmax" or "sigmoid"; see `objectives.contrast`.
        scale, margin: scale and margin of the contrast. The softmax has no margin.
        cross_device: contrast with the products and queries of all processes (CDNS), so that N processes train like
            one process with N times the batch. False contrasts only the rows within each process. The memory bank
            holds the products of all processes either way.
        title_weight, photo_weight: weights of the title-only form and of the photo-only form (QIM). The full form has
            weight 1.
        word_dropout: share of title words left out.
        colour_dropout: share of titles that lose all colour words, so that the photo has to show the colour.
        composed_share: share of products that become a composed query. Half of these show the photo of another
            product and the word that turns its query into this one (see `QueryEdits`). The other half show the
            product's photo and some words of the query.
        keyword_queries: Keyword Enhancement (MAKE, our reading). A second query is also trained towards each product:
            one that shares clicks with the first and has a click on the product too. The product is never among its
            negatives.
        masked_words: weight of masked language modelling on query and title words.
        masked_patches: weight of masked patch modelling.
        patch_objective: "contrastive" (MPM_R, paper 2) or "regression" (MPM), for the ablation.
        mask_share, patch_mask_share: share of words and share of patches that are hidden.
        memory_bank: number of products of earlier steps kept as additional negatives (MBNS). 0 keeps none.
        memory_warmup: steps before the bank is used, because its first products come from untrained towers.
        same_style: weight of eSSPR's losses over same-style pairs (three PPM, two PDC, two LC), if there are pairs.
        self_distinctiveness, locality: weights of PDC and LC. PPM has weight 1.
        pair_batch_size: pairs per step and process.
        hinge_margin, locality_margin: margin of PPM and PDC, and margin of LC. The published code leaves their values
            open.
        hold_out: share of the products that training never sees, including their clicks and pairs; see
            `shopwindow.towers.data.holdout`.
        validation_share: share of the queries whose clicks are kept out of training for validation. Validation measures
            their recall@10, and the training keeps the weights with the best recall. 0 turns validation off.
        validate_every: steps between two validations. There is also one after the last step.
        validation_products: number of products that a validation ranks: all clicked ones, and others drawn at random
            to make up the number.
        patience: training stops after this many validations in a row without a better one. 0 never stops. The learning
            rate is planned for all `steps`, so a run that stops early ends before the rate has fallen.
        device: "auto" (a GPU if there is one), "cpu" or "cuda".
        compile: compile the transformer stacks with torch.compile. This takes minutes at the start and pays off in long
            runs on a GPU.
        bf16: compute matrix products in bfloat16 where that is faster: on GPUs from Ampere on and on CPUs with AVX-512.
            Losses stay in float32.
        save_every: steps between two saved states from which a stopped training can go on. 0 saves none.
        seed: seed of everything random.
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
        """Return whether a step, counted from 0, trains only the texts; see `text_steps`."""
        return step < self.text_steps

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainingConfig:
        """Read the `training` part of a config file.

        Raises:
            ValueError: a key is unknown, or a value is out of range.
        """
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
            raise ValueError(f"patience: {self.patience} needs a validation_share above 0, got 0")
