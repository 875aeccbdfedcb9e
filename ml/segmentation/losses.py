"""Losses on logits; every one ignores pixels outside the field of view."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """How much each term counts.

    Attributes:
        bce: Binary cross-entropy.
        dice: Soft Dice.
        centreline: Recall on the vessels' centre lines (skeleton recall, arXiv:2404.03010).
        early_stage: Weight of the answers before the last stage of a chain.
    """

    bce: float = 1.0
    dice: float = 0.3
    centreline: float = 0.0
    early_stage: float = 0.5


def masked_bce(logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean binary cross-entropy over the masked pixels.

    Args:
        logits: (B, 1, H, W).
        target: (B, 1, H, W) share of vessel in [0, 1].
        mask: (B, 1, H, W), 1 where a pixel counts.

    Returns:
        A scalar.
    """
    losses = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (losses * mask).sum() / mask.sum().clamp(min=1.0)


def soft_dice_loss(logits: Tensor, target: Tensor, mask: Tensor, *, smooth: float = 1.0) -> Tensor:
    """One minus the Dice overlap of probability and target, over the whole batch; arguments as :func:`masked_bce`."""
    probability = torch.sigmoid(logits) * mask
    target = target * mask
    overlap = (probability * target).sum()
    return 1.0 - (2.0 * overlap + smooth) / (probability.sum() + target.sum() + smooth)


def centreline_loss(logits: Tensor, centreline: Tensor, mask: Tensor, *, smooth: float = 1.0) -> Tensor:
    """One minus the mean probability on the true centre lines; ``centreline`` is 1 on them."""
    centreline = centreline * mask
    found = (torch.sigmoid(logits) * centreline).sum()
    return 1.0 - (found + smooth) / (centreline.sum() + smooth)


def vessel_loss(
    answers: tuple[Tensor, ...], target: Tensor, centreline: Tensor, mask: Tensor, weights: LossWeights
) -> Tensor:
    """Weighted sum of the terms over all stages of a network; a scalar."""
    total = torch.zeros((), device=target.device)
    for index, answer in enumerate(answers):
        logits = answer.float()
        share = 1.0 if index == len(answers) - 1 else weights.early_stage
        loss = weights.bce * masked_bce(logits, target, mask)
        if weights.dice:
            loss = loss + weights.dice * soft_dice_loss(logits, target, mask)
        if weights.centreline:
            loss = loss + weights.centreline * centreline_loss(logits, centreline, mask)
        total = total + share * loss
    return total
