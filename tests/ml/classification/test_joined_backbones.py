import numpy as np
import pytest

from ml.classification import backbones
from ml.classification.gradcam import closed_form_class_maps, grad_cam_by_gradient

SIDE = 64
PARTS = ("mobilenet_v1", "efficientnet_lite0/local_contrast")


@pytest.fixture(scope="module")
def parts():
    import keras

    keras.utils.set_random_seed(3)
    networks = [backbones.build_network(name, side=SIDE, class_count=4) for name in PARTS]
    seen = np.random.default_rng(1).integers(0, 256, (8, SIDE, SIDE, 3)).astype(np.float32)
    for network in networks:
        # Statistics that fit the random weights, or the signal would die on its way through the layers.
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0
        network(seen, training=True)
        head = network.get_layer(backbones.HEAD_LAYER)
        kernel, bias = head.get_weights()
        head.set_weights([kernel * 10, bias + np.arange(4, dtype=np.float32)])
    return networks


@pytest.fixture(scope="module")
def joined(parts):
    network = backbones.build_network(backbones.JOINT.join(PARTS), side=SIDE, class_count=4)
    backbones.join(network, parts)
    return network


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.float32)


def test_joined_logits_are_the_mean_of_the_parts_logits(joined, parts, pixels):
    each = [np.asarray(part.predict_on_batch(pixels)) for part in parts]

    together = np.asarray(joined.predict_on_batch(pixels))

    assert together == pytest.approx((each[0] + each[1]) / 2, abs=1e-4)
    assert np.abs(each[0] - each[1]).max() > 1e-2


def test_class_maps_of_joined_backbones_keep_their_closed_form(joined, pixels):
    import keras

    maps = keras.Model(joined.input, joined.get_layer(backbones.FEATURE_LAYER).output)
    features = np.asarray(maps.predict_on_batch(pixels))
    kernel = joined.get_layer(backbones.HEAD_LAYER).get_weights()[0]

    closed = closed_form_class_maps(features, kernel)[..., 1]

    assert closed == pytest.approx(grad_cam_by_gradient(joined, pixels, 1), rel=1e-3, abs=1e-5)
    assert closed.std() > 1e-3


@pytest.mark.parametrize("architecture", ["mobilenet_v1+vgg", "cnn+cnn", "+"])
def test_unknown_or_doubled_parts_are_refused(architecture):
    with pytest.raises(ValueError, match="architecture"):
        backbones.build_network(architecture, side=SIDE, class_count=4)


def test_joined_backbones_take_no_pretrained_weights(tmp_path):
    with pytest.raises(ValueError, match="pre-trained"):
        backbones.build_network("cnn+resnet_small", side=SIDE, class_count=4, pretrained=tmp_path / "x.h5")
