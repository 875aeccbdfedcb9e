"""Vessel probability of one photograph from a bundle."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ml.bundle import Bundle
from ml.contracts import FieldOfView
from ml.errors import BundleError
from ml.segmentation.frames import cut_frame, fov_diameter, normalise, paste
from ml.segmentation.unet import Architecture, VesselNetwork, count_parameters

# Diameters in pixels that the training photographs span; beyond them the bias of the nearest one holds.
BIAS_DIAMETERS = (500, 1700)
BIAS_REFERENCE = 1000
FLIPS: dict[int, tuple[tuple[int, ...], ...]] = {1: ((),), 2: ((), (3,)), 4: ((), (3,), (2,), (2, 3))}


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSettings:
    """How a network is applied to a photograph.

    Attributes:
        native_share: Working diameter of the field of view as a share of its diameter in the photograph.
        min_diameter: The working diameter is never smaller, except by ``max_enlargement``.
        max_diameter: Nor larger; bounds time and memory.
        flips: Mirrored copies to average: 1, 2 or 4.
        precision: ``float32`` or ``bfloat16``; the latter falls back where it would be slower.
        size_bias: Added to every logit for each doubling of the field of view's diameter in the photograph
            from 1,000 pixels, between the sizes in ``BIAS_DIAMETERS``. Observers draw vessels wider, and more
            of the faint ones, in small photographs; with the bias one threshold suits all sizes.
        max_enlargement: A small photograph is not enlarged by more than this, since it shows nothing more then.
    """

    native_share: float = 0.7
    min_diameter: int = 720
    max_diameter: int = 1120
    flips: int = 1
    precision: str = "float32"
    size_bias: float = 0.0
    max_enlargement: float = 2.0

    def __post_init__(self) -> None:
        if self.flips not in FLIPS or self.precision not in {"float32", "bfloat16"}:
            raise ValueError("flips must be 1, 2 or 4 and precision float32 or bfloat16.")
        if not 0 < self.min_diameter <= self.max_diameter or self.native_share <= 0 or self.max_enlargement < 1:
            raise ValueError(
                "min_diameter and max_diameter must be positive and in order, native_share positive, "
                "max_enlargement at least 1."
            )

    def diameter_for(self, fov: FieldOfView) -> int:
        """Return the working diameter for a field of view, in pixels."""
        native = fov_diameter(fov)
        wanted = min(max(self.native_share * native, self.min_diameter), self.max_diameter)
        return round(min(wanted, self.max_enlargement * native))

    def odds_for(self, fov: FieldOfView) -> float:
        """Return the factor of the odds of vessel for a field of view, from ``size_bias``."""
        diameter = min(max(fov_diameter(fov), BIAS_DIAMETERS[0]), BIAS_DIAMETERS[1])
        return math.exp(self.size_bias * math.log2(diameter / BIAS_REFERENCE))


@torch.inference_mode()
def vessel_probability(
    network: VesselNetwork, pixels: NDArray[np.uint8], fov: FieldOfView, *, settings: InferenceSettings
) -> NDArray[np.float32]:
    """Compute the probability of vessel for each pixel of a photograph.

    Args:
        network: In evaluation mode; its device is used. One held in bfloat16 computes in it; one held
            in float32 follows ``settings.precision``.
        pixels: RGB photograph, (H, W, 3) uint8, of any size.
        fov: Its field of view.
        settings: Working size, mirrored copies, precision.

    Returns:
        (H, W) float32 in [0, 1], 0 outside the field of view.
    """
    frame = cut_frame(pixels, fov, diameter=settings.diameter_for(fov))
    weights = next(network.parameters())
    device = weights.device
    images = _pad(torch.from_numpy(normalise(frame))[None], multiple=network.architecture.multiple)
    images = images.to(device, weights.dtype).contiguous(memory_format=torch.channels_last)
    half = weights.dtype == torch.float32 and settings.precision == "bfloat16" and has_bfloat16(device)
    total = torch.zeros(1, 1, *images.shape[2:], device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        for dims in FLIPS[settings.flips]:
            logits = network(torch.flip(images, dims) if dims else images)[-1].float()
            total += torch.sigmoid(torch.flip(logits, dims) if dims else logits)
    height, width = frame.mask.shape
    mean = total[0, 0, :height, :width] / settings.flips
    odds = settings.odds_for(fov)
    biased = mean * odds / (1 - mean + mean * odds)
    return paste(biased.cpu().numpy(), fov)


def _pad(images: Tensor, *, multiple: int) -> Tensor:
    """Pad (B, C, H, W) with zeros at the bottom and right to multiples of ``multiple``."""
    height, width = images.shape[2:]
    return functional.pad(images, (0, -width % multiple, 0, -height % multiple))


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 on ``device``.

    A processor needs matrix tiles for that. One that has the vector instructions for bfloat16 but no tiles spends 1.3
    to 1.5 times as long in it (the card of the bundle has the figures).
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_amx_tile_supported())  # noqa: SLF001  (torch has no public name for it)


class VesselSegmenter:
    """The vessel network of a bundle, ready to be asked.

    Attributes:
        bundle: Where the weights come from.
        threshold: Probability above which a pixel is called vessel; chosen on training images.
        settings: Working size, mirrored copies, precision.
    """

    def __init__(self, bundle: Bundle, *, settings: InferenceSettings | None = None) -> None:
        """Load the network.

        Args:
            bundle: A ``fundus_vessel_segmentation`` bundle.
            settings: Overrides the bundle's own, for measurements.

        Raises:
            BundleError: The manifest lacks a value, or the weights do not fit the declared architecture.
        """
        self.bundle = bundle
        self.settings = settings or settings_of(bundle)
        self.threshold = float(_require(bundle, "output", "threshold"))
        network = fuse(_load_network(bundle))
        half = self.settings.precision == "bfloat16" and has_bfloat16(torch.device("cpu"))
        self._network = network.to(torch.bfloat16) if half else network

    def probability(self, pixels: NDArray[np.uint8], fov: FieldOfView) -> NDArray[np.float32]:
        """Compute the probability of vessel for each pixel.

        Args:
            pixels: RGB photograph, (H, W, 3) uint8.
            fov: Its field of view.

        Returns:
            (H, W) float32 in [0, 1] at the photograph's size, 0 outside the field of view.
        """
        return vessel_probability(self._network, pixels, fov, settings=self.settings)


def check_network(bundle: Bundle) -> None:
    """Prove that a bundle's declaration, its weights and its output shape agree.

    Raises:
        BundleError: They do not.
    """
    network = _load_network(bundle)
    declared = _require(bundle, "architecture", "parameters")
    if count_parameters(network) != declared:
        raise BundleError(f"The vessel network has {count_parameters(network)} parameters, {declared} are declared.")
    settings_of(bundle)
    threshold = _require(bundle, "output", "threshold")
    if not 0.0 < float(threshold) < 1.0:
        raise BundleError("The vessel network's threshold lies outside 0 to 1.")
    side = 4 * network.architecture.multiple
    with torch.inference_mode():
        answer = network(torch.zeros(1, network.architecture.in_channels, side, side))[-1]
    if tuple(answer.shape) != (1, 1, side, side):
        raise BundleError("The vessel network's answer does not have the size of its input.")


def _load_network(bundle: Bundle) -> VesselNetwork:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        architecture = Architecture(
            channels=tuple(_require(bundle, "architecture", "channels")),
            stages=_require(bundle, "architecture", "stages"),
            residual=_require(bundle, "architecture", "residual"),
        )
        network = VesselNetwork(architecture)
        network.load_state_dict(load_file(bundle.weights_path))
    except (OSError, SafetensorError, RuntimeError, TypeError, ValueError) as error:
        raise BundleError("The vessel network's weights do not fit the declared architecture.") from error
    return network.eval().to(memory_format=torch.channels_last)


def fuse(network: VesselNetwork) -> VesselNetwork:
    """Fold each batch normalisation into the convolution before it, in place; answers stay the same."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for block in _double_convolutions(network):
        for convolution, norm in (("first", "first_norm"), ("second", "second_norm")):
            setattr(block, convolution, fuse_conv_bn_eval(getattr(block, convolution), getattr(block, norm)))
            setattr(block, norm, nn.Identity())
    return network.to(memory_format=torch.channels_last)


def _double_convolutions(network: VesselNetwork) -> Iterator[nn.Module]:
    for unit in network.units:
        yield from unit.encoder
        yield from unit.decoder


def settings_of(bundle: Bundle) -> InferenceSettings:
    """Return how a bundle wants its network to be applied.

    Raises:
        BundleError: A value is missing or unusable.
    """
    try:
        return InferenceSettings(
            native_share=float(_require(bundle, "input", "native_share")),
            min_diameter=int(_require(bundle, "input", "min_diameter")),
            max_diameter=int(_require(bundle, "input", "max_diameter")),
            flips=int(_require(bundle, "input", "flips")),
            precision=str(_require(bundle, "input", "precision")),
            # Bundles up to 1.0.0 have neither.
            size_bias=float(bundle.manifest["input"].get("size_bias", 0.0)),
            max_enlargement=float(bundle.manifest["input"].get("max_enlargement", math.inf)),
        )
    except (TypeError, ValueError) as error:
        raise BundleError("The vessel network's bundle declares unusable input settings.") from error


def _require(bundle: Bundle, table: str, key: str) -> Any:
    try:
        return bundle.manifest[table][key]
    except (KeyError, TypeError) as error:
        raise BundleError(f"The vessel network's bundle lacks {table}.{key}.") from error
