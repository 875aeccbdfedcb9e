"""Networks of the classifiers: a backbone, global average pooling and one dense layer on top."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from ml.classification import efficientnet_lite
from ml.classification.local_contrast import LocalContrast

ARCHITECTURES = ("cnn", "resnet_small", "resnet50", "mobilenet_v1", "mobilenet_v2", *efficientnet_lite.VARIANTS)
FEATURE_LAYER = "feature_maps"
POOLED_LAYER = "pooled_features"
HEAD_LAYER = "class_logits"
# Between the names of backbones that read the same pixels side by side.
JOINT = "+"
# Behind the name of a backbone: what it reads instead of the pixels as they are.
OPTION = "/"
CONTRAST = "local_contrast"
MIRRORED = "mirrored"


def build_network(
    architecture: str, *, side: int, class_count: int, pretrained: Path | None = None, dropout: float = 0.0
) -> keras.Model:
    """Build a classifier that takes 8-bit pixels and gives logits.

    Args:
        architecture: One of ``ARCHITECTURES``, or several joined by ``+``, whose feature maps are then put
            side by side; they must shrink the input alike. ``/local_contrast`` after a name puts
            :class:`ml.classification.local_contrast.LocalContrast` before that backbone, ``/mirrored``
            lets it read the mirror image and turns its maps back.
        side: Side of the square input in pixels.
        class_count: Number of logits.
        pretrained: Weights of the bare backbone: Keras weights (``include_top=False``), for
            EfficientNet-Lite the published PyTorch file; random when None. The plain CNN and the small
            ResNet have no published weights and take none, nor do joined backbones.
        dropout: Share of pooled features dropped while training.

    Returns:
        A model from (n, side, side, 3) RGB values 0-255 to (n, class_count) logits. It ends in
        feature maps, global average pooling and one dense layer, so class maps have a closed form.

    Raises:
        ValueError: The architecture is unknown, or takes no pre-trained weights.
    """
    parts = architecture.split(JOINT)
    for part in parts:
        name, *options = part.split(OPTION)
        if name not in ARCHITECTURES or not set(options) <= {CONTRAST, MIRRORED}:
            raise ValueError(f"The architecture must be of {', '.join(ARCHITECTURES)}, not {part!r}.")
    if pretrained is not None and len(parts) > 1:
        raise ValueError("Joined backbones take no pre-trained weights; join trained networks instead.")
    pixels = keras.Input((side, side, 3), name="pixels")
    if len(parts) == 1:
        features = [_feature_maps(parts[0], pixels, pretrained)]
    else:
        # Each in a model of its own, as the same backbone may be there more than once.
        features = [_as_part(part, position, side=side)(pixels) for position, part in enumerate(parts)]
    logits = _classify(features, class_count=class_count, dropout=dropout)
    return keras.Model(pixels, logits, name=architecture.replace(JOINT, "_and_").replace(OPTION, "_"))


def join(network: keras.Model, parts: Sequence[keras.Model]) -> None:
    """Give a network of joined backbones the weights of networks with one backbone each, in the same order.

    Its logits are then the mean of theirs: an ensemble whose class maps keep their closed form.

    Args:
        network: Result of :func:`build_network` for joined backbones.
        parts: Results of :func:`build_network` for each of them.
    """
    for position, part in enumerate(parts):
        backbone = keras.Model(part.input, part.get_layer(FEATURE_LAYER).output)
        network.get_layer(_part_name(position)).set_weights(backbone.get_weights())
    heads = [part.get_layer(HEAD_LAYER).get_weights() for part in parts]
    kernel = np.concatenate([kernel for kernel, _ in heads]) / len(parts)
    network.get_layer(HEAD_LAYER).set_weights([kernel, np.mean([bias for _, bias in heads], axis=0)])


def only_parts(network: keras.Model, positions: Sequence[int]) -> keras.Model:
    """Return some of a joined network's backbones with their share of the dense layer, as if they spoke alone.

    The dense layer's kernel is copied, all other weights are shared.

    Args:
        network: Result of :func:`build_network` for joined backbones.
        positions: Of the parts, from 0.
    """
    bodies = [layer for layer in network.layers if isinstance(layer, keras.Model)]
    kernel, bias = network.get_layer(HEAD_LAYER).get_weights()
    kernels = np.split(kernel, np.cumsum([body.output_shape[-1] for body in bodies])[:-1])
    pixels = keras.Input(network.input_shape[1:], name="pixels")
    features = [network.get_layer(_part_name(position))(pixels) for position in positions]
    alone = keras.Model(pixels, _classify(features, class_count=bias.size, dropout=0.0))
    share = len(bodies) / len(positions)
    own = np.concatenate([kernels[position] for position in positions]) * share
    alone.get_layer(HEAD_LAYER).set_weights([own, bias])
    return alone


def mix_logits(
    network: keras.Model, mixing: NDArray[np.floating[Any]] | None, offsets: NDArray[np.floating[Any]]
) -> None:
    """Change the dense layer so that its logits (n, K) become ``logits @ mixing.T + offsets``; None mixes nothing."""
    head = network.get_layer(HEAD_LAYER)
    kernel, bias = (values if mixing is None else values @ mixing.T for values in head.get_weights())
    head.set_weights([kernel, bias + offsets])


def parts_without(fold: int, folds: Sequence[int], *, parts: int) -> list[int]:
    """Return the positions of the parts of a joined network that were trained without ``fold``.

    Args:
        fold: One of ``folds``.
        folds: The folds held out in turn; the parts stand in this order, equally many for each.
        parts: Number of parts.

    Raises:
        ValueError: No part was trained without this fold.
    """
    if fold not in folds:
        raise ValueError(f"No network was trained without fold {fold}.")
    each = parts // len(folds)
    first = list(folds).index(fold) * each
    return list(range(first, first + each))


def find_pretrained(name: str, directory: Path) -> Path:
    """Return where pre-trained weights lie: in ``directory``, else in an installed package that ships them.

    Args:
        name: File name.
        directory: Of pre-trained weights.

    Raises:
        FileNotFoundError: Neither has the file.
    """
    shipped = (efficientnet_lite.published_file(variant) for variant in efficientnet_lite.VARIANTS)
    for path in (directory / name, *(path for path in shipped if path is not None and path.name == name)):
        if path.is_file():
            return path
    raise FileNotFoundError(f"There are no pre-trained weights {name}; see requirements-training.txt.")


def freeze(network: keras.Model, *, through: str | None, batch_statistics: bool) -> None:
    """Choose what is trained; takes effect when the network is compiled.

    Args:
        network: Result of :func:`build_network`.
        through: Name of the last layer whose weights stay; None trains all layers.
        batch_statistics: Keep the batch normalisation of the pre-training, which is steadier on
            few photographs and a third faster.

    Raises:
        ValueError: No layer has that name.
    """
    names = [layer.name for layer in network.layers]
    if through is not None and through not in names:
        raise ValueError(f"The network has no layer {through}.")
    last_frozen = -1 if through is None else names.index(through)
    for position, layer in enumerate(network.layers):
        is_statistics = batch_statistics and isinstance(layer, layers.BatchNormalization)
        layer.trainable = position > last_frozen and not is_statistics


def _classify(features: Sequence[keras.KerasTensor], *, class_count: int, dropout: float) -> keras.KerasTensor:
    joined = layers.Concatenate()(features) if len(features) > 1 else features[0]
    maps = layers.Activation("linear", name=FEATURE_LAYER)(joined)
    pooled = layers.GlobalAveragePooling2D(name=POOLED_LAYER)(maps)
    kept = layers.Dropout(dropout, name="dropout")(pooled) if dropout else pooled
    return layers.Dense(class_count, dtype="float32", name=HEAD_LAYER)(kept)


def _part_name(position: int) -> str:
    return f"part_{position}"


def _as_part(part: str, position: int, *, side: int) -> keras.Model:
    pixels = keras.Input((side, side, 3))
    return keras.Model(pixels, _feature_maps(part, pixels, None), name=_part_name(position))


def _feature_maps(part: str, pixels: keras.KerasTensor, pretrained: Path | None) -> keras.KerasTensor:
    architecture, *options = part.split(OPTION)
    seen = keras.ops.flip(pixels, axis=2) if MIRRORED in options else pixels
    if CONTRAST in options:
        seen = LocalContrast(name=f"local_contrast_{architecture}")(seen)
    maps = _backbone(architecture, seen, pretrained)
    return keras.ops.flip(maps, axis=2) if MIRRORED in options else maps


def _backbone(architecture: str, pixels: keras.KerasTensor, pretrained: Path | None) -> keras.KerasTensor:
    scaled = layers.Rescaling(1 / 127.5, offset=-1.0, name=f"scale_{architecture}")(pixels)
    applications = {
        "resnet50": keras.applications.ResNet50,
        "mobilenet_v1": keras.applications.MobileNet,
        "mobilenet_v2": keras.applications.MobileNetV2,
    }
    if architecture in applications:
        return _from_applications(applications[architecture], scaled, pretrained)
    if architecture in efficientnet_lite.VARIANTS:
        maps = efficientnet_lite.feature_maps(architecture, scaled)
        if pretrained is not None:
            efficientnet_lite.load_published(keras.Model(scaled, maps), architecture, pretrained)
        return maps
    if pretrained is not None:
        raise ValueError(f"The architecture {architecture} takes no pre-trained weights.")
    return _plain_cnn(scaled) if architecture == "cnn" else _small_resnet(scaled)


def _from_applications(
    application: Callable[..., keras.Model], scaled: keras.KerasTensor, pretrained: Path | None
) -> keras.KerasTensor:
    backbone = application(include_top=False, weights=None, input_tensor=scaled)
    if pretrained is not None:
        # The weights file names the layers of the bare backbone, without the scaling before it.
        bare = application(include_top=False, weights=str(pretrained), input_shape=tuple(scaled.shape[1:]))
        backbone.set_weights(bare.get_weights())
    return backbone.output


def _plain_cnn(tensor: keras.KerasTensor, widths: Sequence[int] = (32, 64, 128, 192, 256)) -> keras.KerasTensor:
    for position, width in enumerate(widths):
        tensor = layers.Conv2D(width, 3, padding="same", use_bias=False)(tensor)
        tensor = layers.ReLU()(layers.BatchNormalization()(tensor))
        if position < len(widths) - 1:
            tensor = layers.MaxPooling2D()(tensor)
    return tensor


def _small_resnet(tensor: keras.KerasTensor, widths: Sequence[int] = (32, 64, 128, 256)) -> keras.KerasTensor:
    tensor = layers.Conv2D(widths[0], 7, strides=2, padding="same", use_bias=False)(tensor)
    tensor = layers.MaxPooling2D()(layers.ReLU()(layers.BatchNormalization()(tensor)))
    for position, width in enumerate(widths):
        tensor = _residual_block(tensor, width, strides=1 if position == 0 else 2)
        tensor = _residual_block(tensor, width, strides=1)
    return tensor


def _residual_block(tensor: keras.KerasTensor, width: int, *, strides: int) -> keras.KerasTensor:
    """Two 3x3 convolutions around a shortcut (arXiv:1512.03385)."""
    shortcut = tensor
    if strides != 1 or tensor.shape[-1] != width:
        shortcut = layers.BatchNormalization()(layers.Conv2D(width, 1, strides=strides, use_bias=False)(tensor))
    tensor = layers.Conv2D(width, 3, strides=strides, padding="same", use_bias=False)(tensor)
    tensor = layers.ReLU()(layers.BatchNormalization()(tensor))
    tensor = layers.BatchNormalization()(layers.Conv2D(width, 3, padding="same", use_bias=False)(tensor))
    return layers.ReLU()(layers.Add()([shortcut, tensor]))
