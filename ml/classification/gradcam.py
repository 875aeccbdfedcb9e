"""Grad-CAM on logits (arXiv:1610.02391): where the model looked, not why."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml.contracts import FieldOfView
from ml.imaging.fov import paste_square

if TYPE_CHECKING:
    import keras

    from ml.classification.predict import Classification


def heatmap(
    classification: "Classification", label: str, fov: FieldOfView, *, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Lay the class map of ``label`` over the photograph.

    Args:
        classification: Result on the photograph's square crop.
        label: A class of ``classification``.
        fov: Field of view the crop was made with.
        shape: (H, W) of the photograph.

    Returns:
        (H, W) float32 in [0, 1], strongest place 1, zeros outside the field of view; all zeros
        when nothing speaks for the class.

    Raises:
        ValueError: The classification has no such class.
    """
    raw = classification.class_maps[..., classification.classes.index(label)]
    if not raw.max() > 0:
        return np.zeros(shape, dtype=np.float32)
    pasted = paste_square(np.maximum(raw, 0), fov, shape=shape)
    strongest = float(pasted.max())
    # The maximum may lie on the black corners of the crop, which are not part of the photograph's eye.
    if strongest <= 0:
        return np.zeros(shape, dtype=np.float32)
    pasted /= strongest
    return np.clip(pasted, 0, 1, out=pasted)


def closed_form_class_maps(feature_maps: NDArray[np.floating[Any]], kernel: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """Return the Grad-CAM maps before the ReLU of all classes at once.

    With global average pooling and one dense layer the gradient of a logit with respect to each
    feature map is the dense weight divided by the number of places, so no gradient is needed.

    Args:
        feature_maps: (..., h, w, C) input of the pooling.
        kernel: (C, K) weights of the dense layer.

    Returns:
        (..., h, w, K) of the type of the inputs.
    """
    places = feature_maps.shape[-3] * feature_maps.shape[-2]
    return feature_maps @ (kernel / places)


def last_feature_layer(network: "keras.Model") -> str:
    """Return the name of the last layer whose output is a stack of maps (n, h, w, C).

    Raises:
        ValueError: No layer has such an output, so there is nothing to map.
    """
    for layer in reversed(network.layers):
        output = getattr(layer, "output", None)
        if output is not None and not isinstance(output, list) and len(output.shape) == 4:
            return str(layer.name)
    raise ValueError("The network has no layer with feature maps.")


def grad_cam_by_gradient(
    network: "keras.Model", batch: NDArray[np.floating[Any]], class_index: int
) -> NDArray[np.float32]:
    """Return the Grad-CAM maps before the ReLU by their definition; for any network, and for tests.

    Args:
        network: From pixels to logits. Runs on TensorFlow or PyTorch, whichever Keras uses.
        batch: (n, side, side, 3) input.
        class_index: Logit to explain.

    Returns:
        (n, h, w) float32, at the size of the last feature maps.
    """
    import keras

    layer = network.get_layer(last_feature_layer(network))
    split = keras.Model(network.inputs, [layer.output, network.output])
    differentiate = _tensorflow_gradient if keras.backend.backend() == "tensorflow" else _torch_gradient
    maps, gradient = differentiate(split, batch.astype(np.float32), class_index)
    weights = gradient.mean(axis=(1, 2), keepdims=True)
    return np.asarray((maps * weights).sum(axis=-1), dtype=np.float32)


def _tensorflow_gradient(
    split: "keras.Model", batch: NDArray[np.float32], class_index: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    import tensorflow

    with tensorflow.GradientTape() as tape:
        maps, logits = split(tensorflow.constant(batch), training=False)
        # The maps are an inner result; watching them after the fact would give no gradient.
        score = tensorflow.reduce_sum(logits[:, class_index])
    gradient = tape.gradient(score, maps)
    return maps.numpy(), gradient.numpy()


def _torch_gradient(
    split: "keras.Model", batch: NDArray[np.float32], class_index: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    import torch

    maps, logits = split(torch.from_numpy(batch), training=False)
    (gradient,) = torch.autograd.grad(logits[:, class_index].sum(), maps)
    return maps.detach().cpu().numpy(), gradient.cpu().numpy()
