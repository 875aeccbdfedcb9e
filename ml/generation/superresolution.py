"""Super-resolution: a small convolutional autoencoder that doubles a photograph's size (mission M7)."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray
from PIL import Image

from ml.contracts import Box, FieldOfView
from ml.errors import BundleError
from ml.imaging.fov import bounding_box

if TYPE_CHECKING:
    from collections.abc import Callable

SCALE = 2
MODEL_FILE = "model.keras"
# Sides of a tile that is enlarged at once, and of what it sees around it: more than the network's receptive field.
TILE, MARGIN = 256, 24
# 8-bit levels that an edge, and what is to be added at it, are measured in.
DETAIL_LEVELS = 8.0


def build_network(*, width: int, blocks: int) -> keras.Model:
    """Build the network; untrained, it adds nothing to bicubic interpolation.

    The encoder halves the size, residual blocks work there, the decoder comes back with a skip
    connection, and a last transposed convolution gives what bicubic interpolation lacks. Transposed
    convolutions with a kernel of twice the stride are sub-pixel convolutions (arXiv:1609.07009).

    Args:
        width: Channels at the photograph's size.
        blocks: Residual blocks at half of it.

    Returns:
        A model from (n, h, w, 3) RGB values 0-255, h and w even, to the detail (n, 2h, 2w, 3), in the
        same units, that is to be added to the photograph enlarged by bicubic interpolation.
    """
    pixels = keras.Input((None, None, 3), name="pixels")
    # What bicubic interpolation lacks is a few levels and hangs on edges: beside the colour of the retina the
    # network would hardly see them, and any step of the optimizer would be larger than what is to be learnt.
    blurred = layers.AveragePooling2D(5, strides=1, padding="same")(pixels)
    edges = layers.Rescaling(1 / DETAIL_LEVELS, name="edges")(layers.Subtract()([pixels, blurred]))
    colour = layers.Rescaling(1 / 127.5, offset=-1.0, name="colour")(pixels)
    seen = layers.Concatenate()([edges, colour])
    stem = layers.Conv2D(width, 5, padding="same", activation="relu")(seen)
    code = layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")(stem)
    for _ in range(blocks):
        inner = layers.Conv2D(width, 3, padding="same", activation="relu")(code)
        code = layers.Add()([code, layers.Conv2D(width, 3, padding="same")(inner)])
    decoded = layers.Conv2DTranspose(width, 4, strides=2, padding="same", activation="relu")(code)
    merged = layers.Conv2D(width, 3, padding="same", activation="relu")(layers.Add()([stem, decoded]))
    detail = layers.Conv2DTranspose(3, 4, strides=SCALE, padding="same", kernel_initializer="zeros")(merged)
    return keras.Model(pixels, layers.Rescaling(DETAIL_LEVELS, name="levels")(detail), name="superresolution")


class Enlarger:
    """A trained network, loaded once and used many times."""

    def __init__(self, network: keras.Model) -> None:
        """Take a result of :func:`build_network`."""
        self._predict: Callable[[NDArray[np.float32]], NDArray[np.float32]] = network.predict_on_batch
        weights = b"".join(np.ascontiguousarray(weight).tobytes() for weight in network.get_weights())
        self.fingerprint = hashlib.sha256(weights).hexdigest()

    @classmethod
    def load(cls, run: Path) -> "Enlarger":
        """Load a run folder of ``train-superresolution``.

        Raises:
            BundleError: There is no finished run.
        """
        try:
            network = keras.models.load_model(run / MODEL_FILE, compile=False)
        except (OSError, ValueError) as error:
            raise BundleError("The folder holds no trained super-resolution network.") from error
        return cls(network)

    def enlarge(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Double a photograph's size.

        Args:
            pixels: (H, W, 3) uint8 RGB, any size; large ones are enlarged tile by tile.

        Returns:
            (2H, 2W, 3) uint8 RGB.
        """
        height, width = pixels.shape[:2]
        margin = MARGIN if max(height, width) > TILE else 0
        rows, columns = min(TILE, height + height % 2), min(TILE, width + width % 2)
        below, beside = -height % rows, -width % columns
        padded = np.pad(pixels, ((margin, margin + below), (margin, margin + beside), (0, 0)), mode="edge")
        detail = np.empty(((height + below) * SCALE, (width + beside) * SCALE, 3), dtype=np.float32)
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                tile = padded[top : top + rows + 2 * margin, left : left + columns + 2 * margin]
                added = np.asarray(self._predict(tile[None].astype(np.float32)))[0]
                inner = added[margin * SCALE :, margin * SCALE :][: rows * SCALE, : columns * SCALE]
                detail[top * SCALE : (top + rows) * SCALE, left * SCALE : (left + columns) * SCALE] = inner
        whole = enlarge_bicubically(pixels) + detail[: height * SCALE, : width * SCALE]
        return np.clip(np.rint(whole), 0, 255).astype(np.uint8)


def enlarge_fov(fov: FieldOfView) -> FieldOfView:
    """Return the field of view of the photograph that :meth:`Enlarger.enlarge` made."""
    box = fov.box
    sides = {name: getattr(box, name) * SCALE for name in ("top", "left", "bottom", "right")}
    return FieldOfView(mask=fov.mask.repeat(SCALE, axis=0).repeat(SCALE, axis=1), box=Box(**sides))


def halve_fov(fov: FieldOfView) -> FieldOfView:
    """Return the field of view of the photograph that :func:`shrink` made."""
    height, width = (length - length % SCALE for length in fov.mask.shape)
    mask = fov.mask[:height:SCALE, :width:SCALE]
    return FieldOfView(mask=mask, box=bounding_box(mask))


def shrink(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Halve a picture (2h, 2w, 3) uint8 with antialiased bicubic interpolation: what the network learns to undo."""
    size = pixels.shape[1] // SCALE, pixels.shape[0] // SCALE
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def enlarge_bicubically(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Double a picture (h, w, 3) uint8 with bicubic interpolation: what the network is compared with."""
    size = pixels.shape[1] * SCALE, pixels.shape[0] * SCALE
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
