import math

import pytest
import torch

from ml.segmentation.losses import LossWeights, centreline_loss, masked_bce, soft_dice_loss, vessel_loss


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def plane(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, -1)


def test_bce_averages_over_masked_pixels_only():
    logits = plane(logit(0.8), logit(0.4), logit(0.99))

    loss = masked_bce(logits, plane(1, 0, 0), plane(1, 1, 0))

    assert loss.item() == pytest.approx((-math.log(0.8) - math.log(0.6)) / 2, abs=1e-6)


def test_bce_of_an_empty_mask_is_zero():
    assert masked_bce(plane(3.0), plane(1), plane(0)).item() == 0.0


def test_soft_dice_by_hand():
    logits = plane(logit(0.5), logit(0.25), logit(0.9))

    loss = soft_dice_loss(logits, plane(1, 0, 1), plane(1, 1, 0))

    assert loss.item() == pytest.approx(1 - (2 * 0.5 + 1) / (0.75 + 1 + 1), abs=1e-6)


def test_soft_dice_of_nothing_against_nothing_is_nearly_zero():
    assert soft_dice_loss(plane(-20.0, -20.0), plane(0, 0), plane(1, 1)).item() == pytest.approx(0, abs=1e-6)


def test_centreline_loss_is_the_missed_share_of_the_lines():
    logits = plane(logit(0.75), logit(0.1), logit(0.5))

    loss = centreline_loss(logits, plane(1, 0, 1), plane(1, 1, 1))

    assert loss.item() == pytest.approx(1 - (0.75 + 0.5 + 1) / (2 + 1), abs=1e-6)


def test_vessel_loss_weighs_terms_and_stages():
    weights = LossWeights(bce=1.0, dice=0.5, centreline=0.25, early_stage=0.5)
    first, last = plane(logit(0.3), logit(0.6)), plane(logit(0.7), logit(0.2))
    target, lines, mask = plane(1, 0), plane(1, 0), plane(1, 1)

    loss = vessel_loss((first, last), target, lines, mask, weights)

    terms = [
        masked_bce(a, target, mask) + 0.5 * soft_dice_loss(a, target, mask) + 0.25 * centreline_loss(a, lines, mask)
        for a in (first, last)
    ]
    assert loss.item() == pytest.approx((0.5 * terms[0] + terms[1]).item(), abs=1e-6)
