"""The loss of one training step, and what is trained beside the towers for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from towers.model import Towers
from towers.objectives import masked_patches
from towers.objectives.contrast import contrast
from towers.objectives.masked_words import WordHead, hide_words, word_loss
from towers.objectives.memory_bank import MemoryBank
from towers.objectives.same_style import locality_consistency, product_matching, self_distinctiveness
from towers.tokenizer import SPECIAL_TOKENS
from towers.training.batches import Batch
from towers.training.config import TrainingConfig
from towers.training.pairs import Products

_MASK_ID = SPECIAL_TOKENS.index("[MASK]")


class Objective(nn.Module):
    """The towers with the heads and the memory that only training needs.

    Args:
        towers: trained in place.
        training: which objectives count, and how much.
    """

    def __init__(self, towers: Towers, training: TrainingConfig) -> None:
        super().__init__()
        self.towers = towers
        self.training_config = training
        config = towers.config
        self.bank = MemoryBank(training.memory_bank, config.embedding_dim)
        if training.masked_words:
            self.query_words = WordHead(config.hidden_size, config.vocab_size)
            self.title_words = WordHead(config.hidden_size, config.vocab_size)
        if training.masked_patches:
            self.hidden_patch = nn.Parameter(torch.randn(config.hidden_size) * 0.02)
            self.patch_head = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, batch: Batch, step: int) -> Tensor:
        """The weighted sum of all objectives, a scalar.

        Args:
            batch: one step's inputs.
            step: counts from 0; the memory bank is not used before its warm-up is over.
        """
        training = self.training_config
        loss = self._contrast(batch, use_bank=step >= training.memory_warmup)
        if training.masked_words:
            loss = loss + training.masked_words * self._words(batch)
        if training.masked_patches:
            loss = loss + training.masked_patches * self._patches(batch)
        return loss

    def _contrast(self, batch: Batch, *, use_bank: bool) -> Tensor:
        """Query-product contrast for the full, the title-only and the photo-only form of the products, both ways."""
        training, towers = self.training_config, self.towers
        has_title, has_image, whole = batch.has_title.float(), batch.has_image.float(), batch.whole.float()
        absent = torch.zeros_like(has_title)
        forms = (
            # weight, which modalities count, which rows count
            (1.0, torch.stack([has_title, has_image], 1), torch.maximum(has_title, has_image)),
            (training.form_weight, torch.stack([has_title, absent], 1), has_title * whole),
            (training.form_weight, torch.stack([absent, has_image], 1), has_image * whole),
        )
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=training.bf16):
            ids, mask = batch.title
            queries = towers.query(*batch.query)
            title, patches = towers.product.title(ids, mask.float()), towers.product.image(batch.pixels)
            products = [towers.product.fuse(title, mask.float(), patches, modalities)[0] for _, modalities, _ in forms]
        known = batch.known_among(batch.products)
        remembered, their_products = self.bank.read() if use_bank else (products[0][:0], batch.products[:0])
        known_remembered = batch.known_among(their_products)
        total = torch.zeros(())
        for (weight, _, rows), embedded in zip(forms, products, strict=True):
            # A form that tells another story than its product is no negative either.
            ignored = torch.cat([known | (rows == 0), known_remembered], 1)
            cosine = queries @ torch.cat([embedded, remembered]).T
            positive = torch.cat([batch.positive, torch.zeros_like(known_remembered)], 1)
            forward = contrast(cosine, positive, ignored, scale=training.scale, margin=training.margin)
            backward = contrast(
                cosine[:, : len(embedded)].T, batch.positive.T, known.T, scale=training.scale, margin=training.margin
            )
            total = total + weight * (_mean(forward, batch.positive.float() @ rows) + _mean(backward, rows))
        told = batch.whole & (forms[0][2] > 0)
        self.bank.push(products[0][told], batch.products[told])
        return total

    def same_style(self, trigger: Products, partner: Products) -> Tensor:
        """eSSPR's losses over pairs, weighted, a scalar: PPM of the full, the title-only and the photo-only form of the
        trigger with the full partner; PDC and LC of the two masked forms.

        A form counts where the trigger has both modalities; without both it would be the full form itself.
        """
        training, tower = self.training_config, self.towers.product
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=training.bf16):
            mask = trigger.title_mask.float()
            title, patches = tower.title(trigger.title_ids, mask), tower.image(trigger.pixels)
            full = tower.fuse(title, mask, patches, trigger.modality_mask)[0]
            masked = [
                tower.fuse(title, mask, patches, trigger.modality_mask * kept)[0] for kept in torch.eye(2)[:, None, :]
            ]
            offer = tower(**vars(partner))[0]
        margin = training.hinge_margin
        loss = product_matching(full, offer, margin=margin).mean()
        both = trigger.modality_mask.prod(1)
        for form in masked:
            each = product_matching(form, offer, margin=margin)
            each = each + training.self_distinctiveness * self_distinctiveness(full, form, margin=margin)
            if training.locality:
                drift = locality_consistency(full, form, offer, margin=training.locality_margin)
                each = each + training.locality * drift
            loss = loss + _mean(each, both)
        return training.same_style * loss

    def _words(self, batch: Batch) -> Tensor:
        """Masked language modelling in both text encoders."""
        total = torch.zeros(())
        encoders = (
            (batch.query, self.towers.query.text, self.query_words),
            (batch.title, self.towers.product.title, self.title_words),
        )
        for (ids, mask), encoder, head in encoders:
            changed, hidden = hide_words(ids, mask, mask_id=_MASK_ID, share=self.training_config.mask_share)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.training_config.bf16):
                states = encoder(changed, mask.float())
            total = total + word_loss(states.float(), hidden, ids, head, encoder.tokens.weight)
        return total

    def _patches(self, batch: Batch) -> Tensor:
        """Masked patch modelling in the image encoder, over the photos that are there."""
        pixels = batch.pixels[batch.has_image]
        if not len(pixels):
            return torch.zeros(())
        image = self.towers.product.image
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.training_config.bf16):
            original = image.embed(image.patches(pixels))  # [photos, patches, width]
            hidden = masked_patches.random_mask(original.shape[0], original.shape[1], self.training_config.mask_share)
            shown = torch.where(hidden[..., None], self.hidden_patch.to(original.dtype), original)
            states = image.encoder(shown + image.positions, torch.ones_like(shown[..., 0]))
            predicted = self.patch_head(states[hidden])
        objective = getattr(masked_patches, self.training_config.patch_objective)
        loss: Tensor = objective(predicted, original[hidden]).mean()
        return loss


def _mean(losses: Tensor, rows: Tensor) -> Tensor:
    """Mean over the rows that count, which `rows` marks with 1."""
    return (losses * rows).sum() / rows.sum().clamp(min=1.0)
