"""The product tower: title encoder, patch encoder, a light fusion and Modal Adaptation.

One set of weights gives three forms of a product: title and photo, title only, photo only (eSSPR). Learned stand-in
states replace a missing modality, so one model with a mask is enough for all three.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from shopwindow.towers.architecture.config import TowerConfig
from shopwindow.towers.architecture.layers import MASKED, Encoder, TextEncoder, masked_mean, unit

_GROUP = 16  # channels in a group of a norm


class ImageEncoder(nn.Module):
    """Turns pixels into patch states: a ViT over patches that a few convolutions read.

    A linear map of a patch sees the mean colour of the pixels, not which colours there are. Convolutions see the
    colours and tell a heel from a flat sole, and they cost less than another transformer block.

    Args:
        config: sizes, and mean and standard deviation of the pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(config.image_mean) * 255.0, persistent=False)
        self.register_buffer("std", torch.tensor(config.image_std) * 255.0, persistent=False)
        self.side = config.image_size // config.patch_size
        self.embed = _patch_reader(config)
        self.positions = nn.Parameter(torch.randn(config.patches, config.hidden_size) * 0.02)
        self.encoder = Encoder(config.image_layers, config.hidden_size, config.heads, config.mlp_ratio)

    def patches(self, pixels: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Read the patches, each with a margin of a few pixels around it.

        Args:
            pixels: (batch, size, size, 3) uint8.
            hidden: (batch, patches) bool, patches whose pixels are blanked for masked patch modelling. None hides none.

        Returns:
            (batch, patches, width).
        """
        # The channels stay last in memory, because convolutions are fastest that way on a CPU.
        values = ((pixels.float() - self.mean) / self.std).permute(0, 3, 1, 2)
        if hidden is not None:
            shown = (~hidden).float().view(-1, 1, self.side, self.side)
            values = values * functional.interpolate(shown, values.shape[-2:])
        read: Tensor = self.embed(values)  # [batch, width, side, side]
        return read.flatten(2).transpose(1, 2)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode.

        Args:
            pixels: (batch, size, size, 3) uint8.

        Returns:
            (batch, patches, width).
        """
        states = self.patches(pixels) + self.positions
        encoded: Tensor = self.encoder(states, torch.ones_like(states[..., 0], dtype=torch.float32))
        return encoded


def _patch_reader(config: TowerConfig) -> nn.Sequential:
    """Build the convolutions that read patches.

    Each halves the sides of the photo until every patch is one state. The channels double, and the last convolution
    gives the width of a state. Each norm covers a group of channels of one photo, so that no product depends on the
    rest of its batch.
    """
    halvings = config.patch_size.bit_length() - 1
    channels = [3, *(config.patch_channels << step for step in range(halvings - 1)), config.hidden_size]
    layers: list[nn.Module] = []
    for few, many in itertools.pairwise(channels[:-1]):
        groups = max(1, many // _GROUP)
        layers += [nn.Conv2d(few, many, kernel_size=3, stride=2, padding=1), nn.GroupNorm(groups, many), nn.GELU()]
    layers.append(nn.Conv2d(channels[-2], channels[-1], kernel_size=2, stride=2))
    return nn.Sequential(*layers)


class ProductTower(nn.Module):
    """Turns a product into an embedding. Its title or its photo may be missing.

    Modal Adaptation is this project's reading of MAKE (its equations are not public):
    a = softmax(W2 tanh(W1 [h_t; h_v; h_t * h_v])), p = norm(P(a_t h_t + a_v h_v + LN(h_x))). Here h_t, h_v and h_x are
    the pooled title, photo and joint states after fusion, and h_t and h_v are scaled to the same length. A missing
    modality gets no weight.

    Args:
        config: sizes.
    """

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.title = TextEncoder(
            config.vocab_size,
            config.title_max_tokens,
            config.title_layers,
            width,
            config.heads,
            config.mlp_ratio,
            config.dropout,
        )
        self.image = ImageEncoder(config)
        self.no_title = nn.Parameter(torch.randn(1, width) * 0.02)
        self.no_image = nn.Parameter(torch.randn(config.patches, width) * 0.02)
        self.modality = nn.Parameter(torch.zeros(2, width))
        self.fusion = Encoder(config.fusion_layers, width, config.heads, config.mlp_ratio)
        self.adapts = config.modal_adaptation
        if self.adapts:
            self.gate_in = nn.Linear(3 * width, width)
            self.gate_out = nn.Linear(width, 2)
        self.joint_norm = nn.LayerNorm(width)
        # The joint state starts about as long as the mean of a few new words. With 1 it would be 50 times as long.
        nn.init.constant_(self.joint_norm.weight, 0.02)
        self.head = nn.Linear(width, config.embedding_dim)

    def forward(
        self, title_ids: Tensor, title_mask: Tensor, pixels: Tensor, modality_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Embed.

        Args:
            title_ids: (batch, tokens) int32 or int64.
            title_mask: (batch, tokens) int32, 1 at real tokens.
            pixels: (batch, size, size, 3) uint8.
            modality_mask: (batch, 2) float32, 1 where the title (first column) or the photo (second) is present. The
                inputs of an absent modality are ignored.

        Returns:
            The embedding (batch, embedding_dim) float32, L2-normalised, and the modality weights (batch, 2) float32
            for title and photo, which sum to 1.
        """
        has_title = modality_mask[:, :1]
        # An absent title may hold any ids. Look up id 0 instead, the padding, which every vocabulary has.
        ids = title_ids * has_title.to(title_ids.dtype)
        mask = title_mask.float()
        return self.fuse(self.title(ids, mask), mask, self.image(pixels), modality_mask)

    def fuse(self, title: Tensor, title_mask: Tensor, patches: Tensor, modality_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Join the encoded modalities, either of which may be masked; see `forward`.

        Args:
            title: (batch, tokens, width).
            title_mask: (batch, tokens) float.
            patches: (batch, patches, width).
            modality_mask: (batch, 2) float.
        """
        has_title, has_image = modality_mask[:, :1], modality_mask[:, 1:]
        title = torch.where(has_title[..., None] > 0, title, self.no_title)
        patches = torch.where(has_image[..., None] > 0, patches, self.no_image)
        # The stand-in for a title is one token at the first position.
        first = torch.zeros_like(title_mask)
        first[:, 0] = 1.0
        title_mask = torch.where(has_title > 0, title_mask, first)
        image_mask = torch.ones_like(patches[..., 0], dtype=title_mask.dtype)

        tokens = title.shape[1]
        joint = torch.cat([title + self.modality[0], patches + self.modality[1]], dim=1)  # [batch, all, width]
        joint_mask = torch.cat([title_mask, image_mask], dim=1)
        joint = self.fusion(joint, joint_mask)
        # Both get the same length, so that the weights alone decide how much each counts.
        h_t = unit(masked_mean(joint[:, :tokens], title_mask))  # [batch, width]
        h_v = unit(masked_mean(joint[:, tokens:], image_mask))
        h_x = masked_mean(joint, joint_mask)

        logits = torch.zeros_like(modality_mask)
        if self.adapts:
            scale = h_t.shape[-1] ** 0.5  # brings the elements near 1, where tanh is not linear
            t, v = scale * h_t, scale * h_v
            logits = self.gate_out(torch.tanh(self.gate_in(torch.cat([t, v, t * v], dim=-1))))
        weights = torch.softmax(logits + (1.0 - modality_mask) * MASKED, dim=-1)
        mixed = weights[:, :1] * h_t + weights[:, 1:] * h_v + self.joint_norm(h_x)
        return unit(self.head(mixed)), weights
