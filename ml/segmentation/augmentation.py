"""Random training crops: geometry, focus, colour, compression. Plain NumPy and torch on the CPU."""

import io
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ml.segmentation.frames import channel_statistics

LABEL, MASK, CENTRELINE = 3, 4, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far training crops stray from the photographs.

    Attributes:
        crop: Side of a crop in pixels.
        min_scale: Smallest size of the field of view, as a share of the photograph's working diameter.
        max_scale: Largest one.
        stretch: Largest relative difference of the two axes.
        gamma: Deviation of the logarithm of each channel's gamma.
        mixing: Deviation of the colour matrix around the identity.
        shading: Strength of a smooth random brightness field.
        blur_share, blur_sigma: How often, and up to which Gaussian sigma in pixels.
        noise_share, noise_level: How often, and up to which deviation in 8-bit units.
        jpeg_share, jpeg_quality: How often, and down to which quality.
        grey_share: How often all three channels become the same grey.
    """

    crop: int = 320
    min_scale: float = 0.7
    max_scale: float = 1.35
    stretch: float = 0.1
    gamma: float = 0.25
    mixing: float = 0.08
    shading: float = 0.25
    blur_share: float = 0.25
    blur_sigma: float = 1.2
    noise_share: float = 0.3
    noise_level: float = 6.0
    jpeg_share: float = 0.2
    jpeg_quality: int = 50
    grey_share: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPhotograph:
    """One photograph ready to be cropped.

    Attributes:
        levels: The same field of view at growing sizes, each (6, h, w) uint8: red, green, blue,
            share of vessel x 255, field of view x 255, centre line x 255.
        diameters: Longer side of each level.
        working_diameter: Size at which inference would see the photograph.
        colours: Some pixels from inside the field of view, (N, 3) uint8.
    """

    levels: tuple[NDArray[np.uint8], ...]
    diameters: tuple[int, ...]
    working_diameter: int
    colours: NDArray[np.uint8]


def random_crop(photograph: TrainingPhotograph, settings: Augmentation, random: Generator) -> Tensor:
    """Draw one augmented training crop.

    Args:
        photograph: What to crop.
        settings: How far to stray.
        random: Source of chance.

    Returns:
        (6, crop, crop) float32: three normalised channels, share of vessel in [0, 1],
        field of view 0/1, centre line 0/1. The first three are 0 outside the field of view.
    """
    crop = _geometry(photograph, settings, random)
    colour = _spoil(crop[:3].clamp(0, 255) / 255.0, settings, random)
    mask = (crop[MASK] > 127).float()
    crop[:3] = _recolour(colour, photograph.colours, settings, random) * mask
    crop[LABEL] = (crop[LABEL] / 255.0).clamp(0, 1)
    crop[MASK] = mask
    crop[CENTRELINE] = (crop[CENTRELINE] > 63).float()
    return crop


def _geometry(photograph: TrainingPhotograph, settings: Augmentation, random: Generator) -> Tensor:
    """Scale, rotate, stretch, mirror and shift: (6, crop, crop) float32 in 8-bit units."""
    scale = np.exp(random.uniform(np.log(settings.min_scale), np.log(settings.max_scale)))
    diameter = scale * photograph.working_diameter
    index = next((i for i, d in enumerate(photograph.diameters) if d >= diameter), len(photograph.diameters) - 1)
    level = photograph.levels[index]
    scale = photograph.diameters[index] / diameter
    angle = random.uniform(0, 2 * np.pi)
    stretch = np.exp(random.uniform(-settings.stretch, settings.stretch) / 2)
    mirror = random.choice([-1.0, 1.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = scale * turn @ np.diag([stretch * mirror, 1 / stretch])
    height, width = level.shape[1:]
    inset = min(0.25 * settings.crop * scale, 0.5 * min(height, width))
    centre = np.array([random.uniform(inset, width - inset), random.uniform(inset, height - inset)])
    return _sample(level, centre, matrix, side=settings.crop)


def _sample(level: NDArray[np.uint8], centre: NDArray, matrix: NDArray, *, side: int) -> Tensor:
    """Read ``side`` x ``side`` pixels around ``centre`` (x, y); ``matrix`` maps crop to level offsets."""
    reach = int(np.ceil(np.abs(matrix).sum(axis=1).max() * side / 2)) + 2
    left, top = int(centre[0]) - reach, int(centre[1]) - reach
    right, bottom = min(level.shape[2], left + 2 * reach), min(level.shape[1], top + 2 * reach)
    left, top = max(0, left), max(0, top)
    part = torch.from_numpy(np.ascontiguousarray(level[:, top:bottom, left:right])).float()
    size = np.array([part.shape[2], part.shape[1]], dtype=np.float64)
    offset = 2 * (centre - np.array([left, top])) / size - 1
    theta = np.concatenate([matrix * side / size[:, None], offset[:, None]], axis=1)
    grid = functional.affine_grid(
        torch.from_numpy(theta.astype(np.float32))[None], [1, 1, side, side], align_corners=False
    )
    return functional.grid_sample(part[None], grid, align_corners=False)[0]


def _spoil(colour: Tensor, settings: Augmentation, random: Generator) -> Tensor:
    """Blur, compress and add noise to (3, h, w) in [0, 1], each by chance."""
    if random.random() < settings.blur_share:
        colour = _blur(colour, sigma=random.uniform(0.3, settings.blur_sigma))
    if random.random() < settings.jpeg_share:
        colour = _compress(colour, quality=int(random.integers(settings.jpeg_quality, 96)))
    if random.random() < settings.noise_share:
        deviation = random.uniform(0, settings.noise_level) / 255.0
        noise = random.standard_normal(tuple(colour.shape), dtype=np.float32)
        colour = (colour + deviation * torch.from_numpy(noise)).clamp(0, 1)
    return colour


def _blur(colour: Tensor, *, sigma: float) -> Tensor:
    offsets = torch.arange(-3, 4, dtype=torch.float32)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).repeat(3, 1)
    padded = functional.pad(colour[None], (3, 3, 3, 3), mode="reflect")
    across = functional.conv2d(padded, kernel[:, None, None, :], groups=3)
    return functional.conv2d(across, kernel[:, None, :, None], groups=3)[0]


def _compress(colour: Tensor, *, quality: int) -> Tensor:
    pixels = (colour.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality)
    decoded = np.asarray(Image.open(buffer), dtype=np.float32) / 255.0
    return torch.from_numpy(np.ascontiguousarray(decoded.transpose(2, 0, 1)))


def _recolour(colour: Tensor, colours: NDArray[np.uint8], settings: Augmentation, random: Generator) -> Tensor:
    """Change gamma, hue and shading of (3, h, w) in [0, 1], then normalise as inference does.

    The photograph's sample of colours goes through the same change, so that its mean and
    deviation are those the whole recoloured photograph would have.
    """
    gamma = np.exp(random.normal(0, settings.gamma, 3)).astype(np.float32)
    mixing = (np.eye(3) + random.normal(0, settings.mixing, (3, 3))).astype(np.float32)
    if random.random() < settings.grey_share:
        mixing = np.tile(np.array([0.3, 0.6, 0.1], dtype=np.float32), (3, 1))
    sample = (colours.astype(np.float32) / 255.0) ** gamma @ mixing.T
    mean, deviation = channel_statistics(sample * 255.0)
    changed = colour ** torch.from_numpy(gamma)[:, None, None]
    changed = torch.einsum("dc,chw->dhw", torch.from_numpy(mixing), changed) * 255.0
    field = random.normal(0, 1, (1, 1, 3, 3)).astype(np.float32)
    shading = functional.interpolate(
        torch.from_numpy(field), size=tuple(changed.shape[1:]), mode="bicubic", align_corners=True
    )[0]
    changed = changed * (1 + settings.shading * random.uniform(0, 0.6) * shading)
    return (changed - torch.from_numpy(mean)[:, None, None]) / torch.from_numpy(deviation)[:, None, None]
