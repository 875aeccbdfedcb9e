"""Networks of the classifiers: a backbone, global average pooling and one dense layer on top."""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
from keras import layers

ARCHITECTURES = ("cnn", "resnet_small", "resnet50", "mobilenet_v1", "mobilenet_v2")
FEATURE_LAYER = "feature_maps"
POOLED_LAYER = "pooled_features"
HEAD_LAYER = "class_logits"


def build_network(
    architecture: str, *, side: int, class_count: int, pretrained: Path | None = None, dropout: float = 0.0
) -> keras.Model:
    """Build a classifier that takes 8-bit pixels and gives logits.

    Args:
        architecture: One of ``ARCHITECTURES``.
        side: Side of the square input in pixels.
        class_count: Number of logits.
        pretrained: Keras weights of the bare backbone (``include_top=False``); random when None.
            The plain CNN and the small ResNet have no published weights and take none.
        dropout: Share of pooled features dropped while training.

    Returns:
        A model from (n, side, side, 3) RGB values 0-255 to (n, class_count) logits. It ends in
        feature maps, global average pooling and one dense layer, so class maps have a closed form.

    Raises:
        ValueError: The architecture is unknown, or takes no pre-trained weights.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"The architecture must be one of {', '.join(ARCHITECTURES)}.")
    pixels = keras.Input((side, side, 3), name="pixels")
    scaled = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale_to_unit")(pixels)
    maps = layers.Activation("linear", name=FEATURE_LAYER)(_backbone(architecture, scaled, pretrained))
    pooled = layers.GlobalAveragePooling2D(name=POOLED_LAYER)(maps)
    kept = layers.Dropout(dropout, name="dropout")(pooled) if dropout else pooled
    logits = layers.Dense(class_count, dtype="float32", name=HEAD_LAYER)(kept)
    return keras.Model(pixels, logits, name=architecture)


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


def _backbone(architecture: str, scaled: keras.KerasTensor, pretrained: Path | None) -> keras.KerasTensor:
    applications = {
        "resnet50": keras.applications.ResNet50,
        "mobilenet_v1": keras.applications.MobileNet,
        "mobilenet_v2": keras.applications.MobileNetV2,
    }
    if architecture in applications:
        return _from_applications(applications[architecture], scaled, pretrained)
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
