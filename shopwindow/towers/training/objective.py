"""The loss of a training step, and the modules that are trained together with the towers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.data.tokenizer import SPECIAL_TOKENS
from shopwindow.towers.objectives import masked_patches
from shopwindow.towers.objectives.contrast import contrast
from shopwindow.towers.objectives.cross_device import gather, rank, sum_over_ranks, world_size
from shopwindow.towers.objectives.masked_words import WordHead, hide_words, word_loss
from shopwindow.towers.objectives.memory_bank import MemoryBank
from shopwindow.towers.objectives.same_style import locality_consistency, product_matching, self_distinctiveness
from shopwindow.towers.training.batches import Batch
from shopwindow.towers.training.config import TrainingConfig
from shopwindow.towers.training.pairs import Products
from shopwindow.towers.training.processes import computes_bf16

_MASK_ID = SPECIAL_TOKENS.index("[MASK]")


class Objective(nn.Module):
    """The towers with the heads and the memory bank that only training needs.

    Args:
        towers: the towers, which are trained in place.
        training: the objectives and their weights.
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

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Return the objectives by name, weighted scalars whose sum is the loss.

        Training uses the mean over the ranks. For the contrast, this mean equals the loss of a single process with the
        rows of all ranks. Masked words and patches are averaged within each rank.

        Args:
            batch: the inputs of the step.
            step: number of the step, from 0. It decides whether only texts learn and whether the warm-up of the memory
                bank is over.
        """
        training = self.training_config
        texts_only = training.texts_only(step)
        parts = {"contrast": self._contrast(batch, texts_only=texts_only, use_bank=step >= training.memory_warmup)}
        if training.masked_words and (texts_only or not training.text_steps):
            parts["words"] = training.masked_words * self._words(batch)
        if training.masked_patches and not texts_only:
            parts["patches"] = training.masked_patches * self._patches(batch)
        return parts

    def _contrast(self, batch: Batch, *, texts_only: bool, use_bank: bool) -> Tensor:
        """Contrast queries with the full, the title-only and the photo-only form of the products, in both directions.

        A rank contrasts its own queries with the products of all ranks, and its own products with the queries of all
        ranks. The gradients averaged over the W ranks are those of one process with all N rows, for this reason. The
        loss of rank r is L_r = W / N * (sum over its rows), so the mean of L_r over the ranks is the loss L of the
        single process. The backward pass of `gather` gives the embeddings E_r the gradient sum_s dL_s / dE_r, so the
        weights of rank r get sum_s dL_s / dE_r * dE_r / dw. Averaged over r, this is d(1/W sum_s L_s) / dw = dL / dw.
        """
        training, towers = self.training_config, self.towers
        has_title, has_image = batch.has_title.float(), batch.has_image.float()
        absent = torch.zeros_like(has_title)
        forms = [
            # weight of the form, modalities that it shows, rows that count
            (1.0, torch.stack([has_title, has_image], 1), torch.maximum(has_title, has_image)),
            (training.title_weight, torch.stack([has_title, absent], 1), has_title * batch.own_title.float()),
            (training.photo_weight, torch.stack([absent, has_image], 1), has_image * batch.own_photo.float()),
        ]
        if texts_only:  # the batch has no photos
            forms = forms[:1]
        with self._autocast(batch.pixels):
            ids, mask = batch.title
            queries = towers.query(*batch.query)
            title, no_photo = towers.product.title(ids, mask.float()), towers.product.no_image
            patches = no_photo.expand(len(ids), -1, -1) if texts_only else towers.product.image(batch.pixels)
            products = [towers.product.fuse(title, mask.float(), patches, modalities)[0] for _, modalities, _ in forms]
        collect = gather if training.cross_device else _keep_local
        all_queries, all_ids = collect(queries), collect(batch.products)
        all_products = collect(torch.stack(products, 1)).unbind(1)
        all_rows = collect(torch.stack([rows for _, _, rows in forms], 1)).unbind(1)
        from_this_rank = collect(torch.full_like(batch.products, rank())) == rank()
        # Only the rank of a query knows which products answer it, so it shares that with the ranks of these products.
        known = batch.known_among(all_ids)
        positive = torch.zeros_like(known)
        positive[:, from_this_rank] = batch.positive
        known_by_product = collect(known)[:, from_this_rank].T
        positive_by_product = collect(positive)[:, from_this_rank].T
        remembered, remembered_ids = self.bank.read() if use_bank else (products[0][:0], batch.products[:0])
        known_remembered = batch.known_among(remembered_ids)
        positive = torch.cat([positive, torch.zeros_like(known_remembered)], 1)
        losses = []
        for (weight, _, rows), own, embedded, counted in zip(forms, products, all_products, all_rows, strict=True):
            # A form that does not stand for its product alone must not be a negative either.
            ignored = torch.cat([known | (counted == 0), known_remembered], 1)
            forward = self._row_losses(queries @ torch.cat([embedded, remembered]).T, positive, ignored)
            backward = self._row_losses(own @ all_queries.T, positive_by_product, known_by_product)
            losses += [weight * self._mean_over_ranks(forward, batch.positive.float() @ rows)]
            losses += [weight * self._mean_over_ranks(backward, rows)]
        if self.bank.size and not texts_only:  # the bank is the same on every rank, so one saved state serves all ranks
            to_remember = batch.own_photo & (forms[0][2] > 0)
            self.bank.push(gather(products[0][to_remember]), gather(batch.products[to_remember]))
        return torch.stack(losses).sum()

    def _row_losses(self, cosine: Tensor, positive: Tensor, ignored: Tensor) -> Tensor:
        """Return the configured contrast; arguments and result as `contrast`."""
        training = self.training_config
        return contrast(cosine, positive, ignored, kind=training.contrast, scale=training.scale, margin=training.margin)

    def _mean_over_ranks(self, losses: Tensor, rows: Tensor) -> Tensor:
        """Return this rank's part of the mean over the rows of all ranks that count, times the number of ranks."""
        if not self.training_config.cross_device:
            return _mean(losses, rows)
        return (losses * rows).sum() * world_size() / sum_over_ranks(rows.sum()).clamp(min=1.0)

    def _autocast(self, like: Tensor) -> torch.autocast:
        """Return a context that computes matrix products in bfloat16 if `bf16` is set and the device is fast at it."""
        enabled = self.training_config.bf16 and computes_bf16(like.device)
        return torch.autocast(like.device.type, dtype=torch.bfloat16, enabled=enabled)

    def same_style(self, trigger: Products, partner: Products) -> Tensor:
        """Return eSSPR's weighted losses over pairs, a scalar.

        PPM compares the full, the title-only and the photo-only form of the trigger with the full partner. PDC and LC
        apply to the two masked forms. A masked form counts only if the trigger has both modalities. Otherwise it would
        be the full form itself.
        """
        training, tower = self.training_config, self.towers.product
        with self._autocast(trigger.pixels):
            mask = trigger.title_mask.float()
            title, patches = tower.title(trigger.title_ids, mask), tower.image(trigger.pixels)
            full = tower.fuse(title, mask, patches, trigger.modality_mask)[0]
            alone = torch.eye(2, device=mask.device)[:, None, :]
            masked = [tower.fuse(title, mask, patches, trigger.modality_mask * kept)[0] for kept in alone]
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
        """Return the loss of masked language modelling in both text encoders."""
        losses = []
        encoders = (
            (batch.query, self.towers.query.text, self.query_words),
            (batch.title, self.towers.product.title, self.title_words),
        )
        for (ids, mask), encoder, head in encoders:
            # Everything random is drawn on the CPU.
            drawn = hide_words(ids.cpu(), mask.cpu(), mask_id=_MASK_ID, share=self.training_config.mask_share)
            changed, hidden = (tensor.to(ids.device) for tensor in drawn)
            with self._autocast(ids):
                states = encoder(changed, mask.float())
            losses.append(word_loss(states.float(), hidden, ids, head, encoder.tokens.weight))
        return torch.stack(losses).sum()

    def _patches(self, batch: Batch) -> Tensor:
        """Return the loss of masked patch modelling in the image encoder, over the products with a photo."""
        pixels = batch.pixels[batch.has_image]
        if not len(pixels):
            return torch.zeros((), device=pixels.device)
        image = self.towers.product.image
        with self._autocast(pixels):
            original = image.patches(pixels)  # [photos, patches, width]
            drawn = masked_patches.random_mask(
                original.shape[0], original.shape[1], self.training_config.patch_mask_share
            )
            hidden = drawn.to(pixels.device)
            shown = image.patches(pixels, hidden)
            shown = torch.where(hidden[..., None], self.hidden_patch.to(shown.dtype), shown)
            states = image.encoder(shown + image.positions, torch.ones_like(shown[..., 0]))
            predicted = self.patch_head(states[hidden])
        objective = getattr(masked_patches, self.training_config.patch_objective)
        loss: Tensor = objective(predicted, original[hidden]).mean()
        return loss


def _keep_local(rows: Tensor) -> Tensor:
    """Return the rows unchanged; used in place of `gather` without cross-device negatives."""
    return rows


def _mean(losses: Tensor, rows: Tensor) -> Tensor:
    """Return the mean over the rows that count, which are 1 in `rows`."""
    return (losses * rows).sum() / rows.sum().clamp(min=1.0)
