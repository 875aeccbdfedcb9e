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


def test_a_part_by_itself_says_what_it_said_before_it_was_joined(joined, parts, pixels):
    bias = np.mean([part.get_layer(backbones.HEAD_LAYER).get_weights()[1] for part in parts], axis=0)

    for position, part in enumerate(parts):
        own_bias = part.get_layer(backbones.HEAD_LAYER).get_weights()[1]
        expected = np.asarray(part.predict_on_batch(pixels)) - own_bias + bias
        alone = backbones.only_parts(joined, [position])
        assert np.asarray(alone.predict_on_batch(pixels)) == pytest.approx(expected, abs=1e-4)
    both = backbones.only_parts(joined, [0, 1])
    assert np.asarray(both.predict_on_batch(pixels)) == pytest.approx(
        np.asarray(joined.predict_on_batch(pixels)), abs=1e-4
    )


def test_mirrored_part_reads_the_mirror_image_and_turns_its_maps_back(parts, pixels):
    import keras

    plain = parts[1]
    network = backbones.build_network(f"{PARTS[1]}+{PARTS[1]}/mirrored", side=SIDE, class_count=4)
    backbones.join(network, [plain, plain])

    def maps(model, batch):
        features = keras.Model(model.input, model.get_layer(backbones.FEATURE_LAYER).output)
        return np.asarray(features.predict_on_batch(batch))

    both = maps(network, pixels)
    width = both.shape[-1] // 2
    assert both[..., :width] == pytest.approx(maps(plain, pixels), abs=1e-4)
    assert both[..., width:] == pytest.approx(maps(plain, pixels[:, :, ::-1])[:, :, ::-1], abs=1e-4)
    assert np.abs(both[..., :width] - both[..., width:]).max() > 1e-2


@pytest.mark.parametrize(("parts", "fold", "expected"), [(4, 1, [0]), (4, 9, [3]), (8, 2, [2, 3]), (8, 9, [6, 7])])
def test_parts_without_a_fold_stand_in_the_order_of_the_folds(parts, fold, expected):
    assert backbones.parts_without(fold, (1, 2, 4, 9), parts=parts) == expected


@pytest.mark.parametrize("architecture", ["mobilenet_v1+vgg", "cnn/upside_down", "+"])
def test_unknown_parts_are_refused(architecture):
    with pytest.raises(ValueError, match="architecture"):
        backbones.build_network(architecture, side=SIDE, class_count=4)


def test_joined_backbones_take_no_pretrained_weights(tmp_path):
    with pytest.raises(ValueError, match="pre-trained"):
        backbones.build_network("cnn+resnet_small", side=SIDE, class_count=4, pretrained=tmp_path / "x.h5")
