"""Local contrast as a network's first layer: each pixel less the mean colour around it.

After B. Graham's entry to the Kaggle competition on diabetic retinopathy (report of 2015): the camera's colour and
the uneven light go, small lesions and vessels stay. As a layer it is part of the network, so that whoever runs
the network cannot forget it, and joined backbones may see the same pixels with and without it.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

# Pixels whose brightest channel is not above this lie outside the eye. These numbers belong to the trained weights,
# so they are not shared with the search for the field of view, which may change.
BLACK_LEVEL = 12
GAIN = 4.0
GREY = 128.0
# Deviation of the Gaussian surroundings as a share of the picture's side.
REACH = 1 / 30
# The surroundings are smooth, so they are computed at a quarter of the size.
REDUCTION = 4


@keras.saving.register_keras_serializable(package="ml")
class LocalContrast(layers.Layer):
    """Map pixels (n, side, side, 3) RGB 0-255 to 128 + 4 x (pixel - surroundings), clipped to 0-255.

    The surroundings are a Gaussian mean over the lit pixels alone; unlit pixels become 128. The side must be
    a multiple of 4.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Compute the Gaussian for pictures of the side in ``input_shape``."""
        side = input_shape[1]
        if side is None or side % REDUCTION:
            raise ValueError(f"The side of the pictures must be a multiple of {REDUCTION}.")
        deviation = side * REACH / REDUCTION
        offsets = np.arange(-np.ceil(3 * deviation), np.ceil(3 * deviation) + 1)
        weights = np.exp(-(offsets**2) / (2 * deviation**2))
        self._line = (weights / weights.sum()).astype(np.float32)

    def call(self, pixels: Any) -> Any:
        """Apply the layer."""
        lit = ops.cast(ops.max(pixels, axis=-1, keepdims=True) > BLACK_LEVEL, pixels.dtype)
        reduced = ops.average_pool(ops.concatenate([pixels * lit, lit], axis=-1), REDUCTION)
        blurred = self._blur(reduced)
        surroundings = blurred[..., :3] / (blurred[..., 3:] + 1e-3)
        size = (pixels.shape[1], pixels.shape[2])
        surroundings = ops.image.resize(surroundings, size, interpolation="bilinear", data_format="channels_last")
        changed = ops.clip(GREY + GAIN * (pixels - surroundings), 0.0, 255.0)
        return changed * lit + GREY * (1 - lit)

    def _blur(self, values: Any) -> Any:
        for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
            kernel = np.repeat(self._line.reshape(shape), 4, axis=2)
            values = ops.depthwise_conv(values, kernel, padding="same", data_format="channels_last")
        return values
