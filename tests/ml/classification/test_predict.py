import numpy as np
import pytest

from ml.bundle import write_bundle
from ml.classification import backbones, gradcam
from ml.classification.predict import Classification, DiseaseClassifier, check_network, vessel_map_pixels
from ml.errors import BundleError
from ml.imaging.enhance import Equalisation, equalise_crop
from ml.imaging.fov import crop_square, find_fov
from tests.ml.classification.networks import SIDE, disc, manifest, tiny_bundle, tiny_network


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return DiseaseClassifier(tiny_bundle(tmp_path_factory.mktemp("tiny")))


def test_probabilities_sum_to_one_in_the_order_of_the_bundle(classifier):
    pixels = disc()

    result = classifier.classify(pixels, find_fov(pixels))

    assert tuple(result.probabilities) == result.classes == tuple(classifier.bundle.manifest["output"]["classes"])
    assert sum(result.probabilities.values()) == pytest.approx(1, abs=1e-9)
    assert result.label == result.classes[int(result.logits.argmax())]
    assert result.logits.dtype == result.class_maps.dtype == np.float32


def test_same_photograph_gives_the_same_numbers(classifier):
    pixels = disc(seed=3)

    first, second = (classifier.classify(pixels, find_fov(pixels)) for _ in range(2))

    assert (first.logits == second.logits).all()


def test_mirrored_photograph_gives_the_same_class_and_a_mirrored_map(classifier):
    crop = disc(SIDE, SIDE, seed=5)

    plain, mirrored = classifier.classify_crops(np.stack([crop, crop[:, ::-1]]))

    assert mirrored.logits == pytest.approx(plain.logits, abs=1e-4)
    assert mirrored.class_maps[:, ::-1] == pytest.approx(plain.class_maps, abs=1e-4)


def test_temperature_divides_the_logits(tmp_path, classifier):
    output = {"classes": list(classifier.classes), "temperature": 2.0}
    softer = DiseaseClassifier(tiny_bundle(tmp_path, output=output))
    crop = disc(SIDE, SIDE)[None]

    halves = softer.classify_crops(crop)[0].logits

    assert halves == pytest.approx(classifier.classify_crops(crop)[0].logits / 2, rel=1e-5)


def test_bundle_that_learnt_from_equalised_photographs_reads_them_so(tmp_path, classifier):
    equalising = DiseaseClassifier(tiny_bundle(tmp_path, input={"side": SIDE, "equalisation": "clahe"}))
    pixels = disc(seed=4)
    fov = find_fov(pixels)

    result = equalising.classify(pixels, fov)

    crop = equalise_crop(crop_square(pixels, fov, side=SIDE), method=Equalisation.CLAHE)
    assert result.logits == pytest.approx(classifier.classify_crops(crop[None])[0].logits, rel=1e-5)
    assert not np.allclose(result.logits, classifier.classify(pixels, fov).logits, rtol=1e-3)


def test_closed_form_maps_equal_grad_cam_by_its_definition():
    network = tiny_network(seed=2)
    batch = np.stack([disc(SIDE, SIDE, seed=seed) for seed in (1, 2)]).astype(np.float32)
    forward_layers = network.get_layer(backbones.FEATURE_LAYER).output
    import keras

    features = np.asarray(keras.Model(network.input, forward_layers).predict_on_batch(batch))
    kernel = network.get_layer(backbones.HEAD_LAYER).get_weights()[0]

    closed = gradcam.closed_form_class_maps(features, kernel)

    for index in range(kernel.shape[1]):
        by_gradient = gradcam.grad_cam_by_gradient(network, batch, index)
        assert closed[..., index] == pytest.approx(by_gradient, rel=1e-3, abs=1e-5)
        assert np.abs(by_gradient).max() > 1e-3


def test_map_layer_is_found_without_its_number():
    network = tiny_network()

    assert gradcam.last_feature_layer(network) == backbones.FEATURE_LAYER


def test_network_without_maps_is_named():
    import keras

    flat = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])

    with pytest.raises(ValueError, match="no layer with feature maps"):
        gradcam.last_feature_layer(flat)


def result_with_map(values):
    maps = np.asarray(values, dtype=np.float32)[..., None]
    return Classification(
        classes=("A",), logits=np.zeros(1, dtype=np.float32), probabilities={"A": 1.0}, class_maps=maps
    )


@pytest.mark.parametrize("values", [[[0.0, 0.0], [0.0, 0.0]], [[-1.0, -2.0], [-3.0, -0.5]]])
def test_heatmap_is_zero_when_nothing_speaks_for_the_class(values):
    pixels = disc()

    heat = gradcam.heatmap(result_with_map(values), "A", find_fov(pixels), shape=(96, 128))

    assert heat.shape == (96, 128)
    assert not heat.any()


def test_heatmap_has_the_size_of_the_photograph_and_nothing_outside_the_eye():
    pixels = disc(90, 140)
    fov = find_fov(pixels)

    heat = gradcam.heatmap(result_with_map([[0.2, 0.1], [-0.4, 0.8]]), "A", fov, shape=(90, 140))

    assert heat.shape == (90, 140)
    assert heat.dtype == np.float32
    assert (heat.min(), heat.max()) == (0.0, 1.0)
    assert not heat[~fov.mask].any()
    assert heat[60, 90] > heat[30, 50] > heat[60, 50]


def test_other_weights_give_another_map():
    batch = disc(SIDE, SIDE)[None].astype(np.float32)

    one, other = (gradcam.grad_cam_by_gradient(tiny_network(seed), batch, 0)[0].ravel() for seed in (1, 7))

    assert abs(np.corrcoef(one, other)[0, 1]) < 0.9


def test_vessel_map_is_a_grey_picture_of_the_probability():
    pixels = vessel_map_pixels(np.array([[0.0, 0.5], [1.0, 0.2]], dtype=np.float32))

    assert pixels.shape == (2, 2, 3)
    assert pixels[..., 0].tolist() == [[0, 128], [255, 51]]
    assert (pixels == pixels[..., :1]).all()


def test_sound_bundle_passes_the_check(classifier):
    check_network(classifier.bundle)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "resnet_small"},
        {"architecture": "unheard_of"},
        {"output": {"classes": ["A", "B"], "temperature": 1.0}},
        {"output": {"classes": ["A", "A", "B", "C"], "temperature": 1.0}},
        {"output": {"classes": ["A", "B", "C", "D"], "temperature": 0.0}},
        {"output": {"classes": ["A", "B", "C", "D"]}},
    ],
)
def test_bundle_that_does_not_fit_its_network_is_refused(tmp_path, classifier, changes):
    broken = write_bundle(
        tmp_path / "broken", manifest(**changes), {"model.weights.h5": classifier.bundle.weights_path}
    )

    with pytest.raises(BundleError):
        check_network(broken)


@pytest.mark.parametrize("architecture", ["cnn", "resnet_small", "mobilenet_v1", "mobilenet_v2"])
def test_every_backbone_ends_in_maps_pooling_and_one_dense_layer(architecture):
    network = backbones.build_network(architecture, side=SIDE, class_count=3)

    kernel, bias = network.get_layer(backbones.HEAD_LAYER).get_weights()

    assert network.output_shape == (None, 3)
    assert kernel.shape[0] == network.get_layer(backbones.FEATURE_LAYER).output.shape[-1]
    assert bias.shape == (3,)


def test_freezing_stops_at_the_layer_named():
    network = backbones.build_network("mobilenet_v1", side=SIDE, class_count=2)

    backbones.freeze(network, through="conv_pw_5_relu", batch_statistics=True)

    assert not network.get_layer("conv_pw_5").trainable
    assert network.get_layer("conv_pw_6").trainable
    assert not network.get_layer("conv_pw_6_bn").trainable
    with pytest.raises(ValueError, match="no layer"):
        backbones.freeze(network, through="nowhere", batch_statistics=True)
