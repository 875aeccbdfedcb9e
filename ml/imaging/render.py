"""Pictures of results, at the photograph's size: vessel map, mask, overlays, Grad-CAM."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.imaging.bands import bands, scaled

# Lossless either way; level 1 writes a 12-megapixel map five times faster than level 6.
_PNG_LEVEL = 1
_VESSEL_COLOUR = (0, 255, 170)
_VESSEL_OPACITY = 0.85
_HEAT_OPACITY = 0.6
# Dark violet, magenta, orange, pale yellow: lightness rises steadily, so that the order of heat
# survives grey printing and colour-blind eyes.
_HEAT_ANCHORS = (
    (0.0, (20, 8, 60)),
    (0.35, (120, 28, 109)),
    (0.65, (229, 92, 48)),
    (0.85, (251, 180, 26)),
    (1.0, (252, 255, 164)),
)


def _colour_table(anchors: tuple[tuple[float, tuple[int, int, int]], ...]) -> NDArray[np.uint8]:
    positions = [position for position, _ in anchors]
    colours = np.array([colour for _, colour in anchors], dtype=np.float64)
    steps = np.linspace(0.0, 1.0, 256)
    channels = [np.interp(steps, positions, colours[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


HEAT_COLOURS = _colour_table(_HEAT_ANCHORS)


def vessel_map(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Turn vessel probability (H, W) in [0, 1] into 8-bit grey: probability x 255, rounded."""
    return scaled(probability, 255, np.uint8)


def vessel_map_png(probability: NDArray[np.float32]) -> bytes:
    """Encode vessel probability (H, W) in [0, 1] as 8-bit grey PNG: probability x 255, rounded."""
    return _png(Image.fromarray(vessel_map(probability)))


def vessel_mask_png(mask: NDArray[np.bool_]) -> bytes:
    """Encode a vessel mask (H, W) bool as 8-bit grey PNG: 0 or 255."""
    return _png(Image.fromarray(mask.astype(np.uint8) * np.uint8(255)))


def vessel_overlay_png(pixels: NDArray[np.uint8], probability: NDArray[np.float32]) -> bytes:
    """Draw vessels over the photograph.

    Args:
        pixels: RGB photograph, (H, W, 3) uint8.
        probability: Vessel probability, (H, W) in [0, 1]; sets the opacity.

    Returns:
        RGB PNG at the photograph's size.
    """
    opacity = scaled(probability, 255 * _VESSEL_OPACITY, np.uint8)
    picture = Image.fromarray(pixels)
    picture.paste(_VESSEL_COLOUR, mask=Image.fromarray(opacity))
    return _png(picture)


def heatmap_png(heatmap: NDArray[np.float32]) -> bytes:
    """Encode a heat map (H, W) in [0, 1] as 16-bit grey PNG: value x 65535, rounded."""
    return _png(Image.fromarray(scaled(heatmap, 65535, np.uint16)))


def heatmap_overlay_png(pixels: NDArray[np.uint8], heatmap: NDArray[np.float32]) -> bytes:
    """Draw a heat map over the photograph; where there is no heat the photograph is unchanged.

    Args:
        pixels: RGB photograph, (H, W, 3) uint8.
        heatmap: (H, W) in [0, 1]; sets colour and opacity.

    Returns:
        RGB PNG at the photograph's size.
    """
    opacities = [round(step * _HEAT_OPACITY) for step in range(256)]
    picture = Image.fromarray(pixels)
    for band in bands(len(heatmap)):
        level = Image.fromarray(scaled(heatmap[band], 255, np.uint8))
        colours = level.convert("P")
        colours.putpalette(HEAT_COLOURS.tobytes())
        picture.paste(colours.convert("RGB"), (0, band.start), mask=level.point(opacities))
    return _png(picture)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()
