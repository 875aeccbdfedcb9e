"""DCGAN of one class (arXiv:1511.06434): networks, augmentation, sampling. Training is in ``dcgan_training``."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

SIDE = 64
# Of the networks' values -1 to 1.
BLACK = -1.0


def build_generator(*, latent: int, width: int) -> nn.Sequential:
    """Return a network from (n, latent, 1, 1) normal numbers to (n, 3, 64, 64) pictures in [-1, 1]."""
    parts: list[nn.Module] = []
    channels = latent
    for position, factor in enumerate((8, 4, 2, 1)):
        stride, padding = (1, 0) if position == 0 else (2, 1)
        parts.append(nn.ConvTranspose2d(channels, factor * width, 4, stride, padding, bias=False))
        parts += [nn.BatchNorm2d(factor * width), nn.ReLU()]
        channels = factor * width
    return nn.Sequential(*parts, nn.ConvTranspose2d(channels, 3, 4, 2, 1), nn.Tanh())


def build_discriminator(*, width: int) -> nn.Sequential:
    """Return a network from (n, 3, 64, 64) pictures to (n,) logits of being a real photograph.

    Spectral normalisation (arXiv:1802.05957) stands in for the batch normalisation of the original,
    which with a hundred photographs ends in oscillation.
    """
    parts: list[nn.Module] = []
    channels = 3
    for factor in (1, 2, 4, 8):
        parts += [spectral_norm(nn.Conv2d(channels, factor * width, 4, 2, 1)), nn.LeakyReLU(0.2)]
        channels = factor * width
    return nn.Sequential(*parts, spectral_norm(nn.Conv2d(channels, 1, 4)), nn.Flatten(0))


def augment(pictures: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Change real and generated pictures alike, differentiably (arXiv:2006.10738).

    Without it the discriminator learns a small class by heart, and the generator copies it.

    Args:
        pictures: (n, 3, side, side), values -1 to 1.
        random: Source of randomness, on the CPU.

    Returns:
        Pictures of the same shape: other brightness, saturation and contrast, moved, some mirrored.
    """
    count, side = len(pictures), pictures.shape[-1]

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.empty(count, 1, 1, 1).uniform_(low, high, generator=random).to(pictures.device)

    changed = pictures + uniform(-0.25, 0.25)
    grey = changed.mean(1, keepdim=True)
    changed = grey + (changed - grey) * uniform(0.5, 1.5)
    mean = changed.mean((1, 2, 3), keepdim=True)
    changed = mean + (changed - mean) * uniform(0.75, 1.25)
    changed = torch.where(uniform(0, 1) < 0.5, changed.flip(3), changed)
    reach = side // 8
    padded = functional.pad(changed, (reach,) * 4, value=BLACK)
    moves = torch.randint(0, 2 * reach + 1, (count, 2), generator=random).tolist()
    moved = [padded[i, :, top : top + side, left : left + side] for i, (top, left) in enumerate(moves)]
    return torch.stack(moved)


def draw(generator: nn.Module, *, latent: int, seed: int, batch_size: int = 32) -> Iterator[NDArray[np.uint8]]:
    """Draw pictures without end; the same weights and seed give the same pictures in the same order.

    Args:
        generator: Result of :func:`build_generator`; is put into evaluation mode.
        latent: Its number of inputs.
        seed: Of the inputs.
        batch_size: Pictures computed at once.

    Yields:
        (64, 64, 3) uint8 RGB.
    """
    random = torch.Generator().manual_seed(seed)
    device = next(generator.parameters()).device
    generator.eval()
    while True:
        inputs = torch.randn(batch_size, latent, 1, 1, generator=random).to(device)
        with torch.no_grad():
            yield from to_pixels(generator(inputs))


def to_values(crops: NDArray[np.uint8]) -> torch.Tensor:
    """Turn crops (n, side, side, 3) uint8 RGB into (n, 3, side, side) float32 in [-1, 1]."""
    return torch.from_numpy(crops.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2).contiguous()


def to_pixels(values: torch.Tensor) -> NDArray[np.uint8]:
    """Turn (n, 3, side, side) values in [-1, 1] into crops (n, side, side, 3) uint8 RGB."""
    bytes_ = ((values + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return bytes_.permute(0, 2, 3, 1).cpu().numpy()
