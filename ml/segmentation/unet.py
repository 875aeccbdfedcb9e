"""U-Net and its refined twin, the W-Net, for vessel logits.

U-Net: arXiv:1505.04597. A second U-Net that refines the first one's answer: Galdran et al.,
"State-of-the-art retinal vessel segmentation with minimalistic models", Sci. Rep. 12, 2022.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

STRIP_ROWS = 128
# How far two 3 by 3 convolutions look.
HALO_ROWS = 2
PROTOTYPE_CHANNELS = (64, 128, 256, 512, 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What a segmentation network is made of; stored in the run folder and in the bundle.

    Attributes:
        channels: Width of each level, full resolution first; its length is the depth.
        stages: 1 for a U-Net, 2 for a W-Net whose second U-Net refines the first.
        residual: Whether each pair of convolutions has a shortcut.
        in_channels: Colour channels of the input.
    """

    channels: tuple[int, ...] = (16, 32, 64, 128)
    stages: int = 1
    residual: bool = True
    in_channels: int = 3

    @property
    def multiple(self) -> int:
        """Sides of the input must be a multiple of this number of pixels."""
        return int(2 ** (len(self.channels) - 1))


class DoubleConvolution(nn.Module):
    """Two 3 by 3 convolutions with batch normalisation, (B, in, H, W) to (B, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, *, residual: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(out_channels)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if residual else None
        self.activation = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Return the activated features."""
        inner = self.activation(self.first_norm(self.first(features)))
        inner = self.second_norm(self.second(inner))
        if self.shortcut is not None:
            # In place: one copy of the features less at the widest point.
            inner += self.shortcut(features)
        return self.activation(inner)


class UNet(nn.Module):
    """Encoder and decoder with skip connections; one logit per pixel."""

    def __init__(self, *, in_channels: int, channels: tuple[int, ...], residual: bool) -> None:
        super().__init__()
        inputs = (in_channels, *channels[:-1])
        self.encoder = nn.ModuleList(
            DoubleConvolution(before, after, residual=residual) for before, after in zip(inputs, channels, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        steps = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.upsample = nn.ModuleList(nn.ConvTranspose2d(deep, shallow, 2, stride=2) for deep, shallow in steps)
        self.decoder = nn.ModuleList(DoubleConvolution(2 * shallow, shallow, residual=residual) for _, shallow in steps)
        self.head = nn.Conv2d(channels[0], 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to logits (B, 1, H, W); H and W multiples of 2^(depth - 1)."""
        skips: list[Tensor] = []
        features = images
        for level, block in enumerate(self.encoder):
            features = _apply(block, self.pool(features) if level else features)
            skips.append(features)
        skips.pop()
        for up, block in zip(self.upsample, self.decoder, strict=True):
            features = _apply(_Joined(up, block), features, skips.pop())
        logits: Tensor = self.head(features)
        return logits


class _Joined:
    """Raise deep features to the size of the skipped ones and let a pair of convolutions see both."""

    def __init__(self, up: nn.Module, block: nn.Module) -> None:
        self._up, self._block = up, block

    def __call__(self, deep: Tensor, skipped: Tensor) -> Tensor:
        joined = torch.cat([self._up(deep), skipped], dim=1)
        return cast(Tensor, self._block(joined))


def _apply(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Return ``function(*inputs)``; in inference strip by strip, because the layers in between take most memory.

    Args:
        function: Two 3 by 3 convolutions at the size of the last input, nothing that looks further.
        inputs: (B, C, h, w); the last has the result's size, the others that or half of it.
    """
    height = inputs[-1].shape[2]
    if not torch.is_inference_mode_enabled() or height <= STRIP_ROWS:
        return function(*inputs)
    result: Tensor | None = None
    for top in range(0, height, STRIP_ROWS):
        bottom = min(top + STRIP_ROWS, height)
        first, last = max(0, top - HALO_ROWS), min(height, bottom + HALO_ROWS)
        seen = [values[:, :, first * values.shape[2] // height : last * values.shape[2] // height] for values in inputs]
        strip = function(*seen)
        if result is None:
            size = (strip.shape[0], strip.shape[1], height, strip.shape[3])
            result = torch.empty(size, dtype=strip.dtype, device=strip.device, memory_format=torch.channels_last)
        result[:, :, top:bottom] = strip[:, :, top - first : bottom - first]
    return cast(Tensor, result)


class VesselNetwork(nn.Module):
    """One U-Net, or a chain in which each further U-Net sees the photograph and the last answer."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        if len(architecture.channels) < 2 or architecture.stages < 1:
            raise ValueError("A segmentation network needs two levels and one stage at least.")
        self.architecture = architecture
        self.units = nn.ModuleList(
            UNet(
                in_channels=architecture.in_channels + (1 if stage else 0),
                channels=architecture.channels,
                residual=architecture.residual,
            )
            for stage in range(architecture.stages)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of every stage, the last one being the answer.

        Args:
            images: (B, in_channels, H, W), normalised; H and W multiples of ``architecture.multiple``.

        Returns:
            One (B, 1, H, W) tensor of logits per stage.
        """
        answers: list[Tensor] = []
        for unit in self.units:
            seen = torch.cat([images, torch.sigmoid(answers[-1])], dim=1) if answers else images
            answers.append(unit(seen))
        return tuple(answers)


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable values."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
