import numpy as np
import pytest
import torch
from torch.nn import functional

from ml.classification import backbones, efficientnet_lite

SIDE = 64


def published_state(variant, *, seed=0):
    """Return random weights with the published names and shapes, in PyTorch's order of dimensions."""
    random = np.random.default_rng(seed)
    state = {}

    def convolution(name, norm, shape):
        fan_in = np.prod(shape[1:])
        state[f"{name}.weight"] = torch.from_numpy(random.normal(0, fan_in**-0.5, shape).astype(np.float32))
        for part, low, high in (("weight", 0.8, 1.6), ("bias", 0, 0.5), ("running_mean", -0.2, 0.2)):
            state[f"{norm}.{part}"] = torch.from_numpy(random.uniform(low, high, shape[0]).astype(np.float32))
        state[f"{norm}.running_var"] = torch.from_numpy(random.uniform(0.5, 1.5, shape[0]).astype(np.float32))

    convolution("_conv_stem", "_bn0", (32, 3, 3, 3))
    before = 32
    for number, (kernel, _, expansion, channels) in enumerate(efficientnet_lite._blocks(variant)):
        name, inner = f"_blocks.{number}", before * expansion
        if expansion > 1:
            convolution(f"{name}._expand_conv", f"{name}._bn0", (inner, before, 1, 1))
        convolution(f"{name}._depthwise_conv", f"{name}._bn1", (inner, 1, kernel, kernel))
        convolution(f"{name}._project_conv", f"{name}._bn2", (channels, inner, 1, 1))
        before = channels
    convolution("_conv_head", "_bn1", (1280, before, 1, 1))
    return state


def convolve(state, values, name, norm, *, stride=1, groups=1):
    """Convolve with TensorFlow's "same" padding, then normalise."""
    weight = state[f"{name}.weight"]
    kernel, size = weight.shape[-1], values.shape[-1]
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    padding = (total // 2, total - total // 2) * 2
    values = functional.conv2d(functional.pad(values, padding), weight, stride=stride, groups=groups)
    parts = [state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    return functional.batch_norm(values, *parts, eps=1e-3)


def forward(state, values, variant):
    """Run the published network, written down a second time in PyTorch."""
    values = functional.relu6(convolve(state, values, "_conv_stem", "_bn0", stride=2))
    for number, (_, stride, expansion, _) in enumerate(efficientnet_lite._blocks(variant)):
        name, inner = f"_blocks.{number}", values
        if expansion > 1:
            inner = functional.relu6(convolve(state, inner, f"{name}._expand_conv", f"{name}._bn0"))
        groups = inner.shape[1]
        inner = convolve(state, inner, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, groups=groups)
        inner = convolve(state, functional.relu6(inner), f"{name}._project_conv", f"{name}._bn2")
        values = inner + values if inner.shape == values.shape else inner
    return functional.relu6(convolve(state, values, "_conv_head", "_bn1"))


@pytest.mark.parametrize("variant", efficientnet_lite.VARIANTS)
def test_published_weights_give_the_feature_maps_of_the_published_network(variant, tmp_path):
    state = published_state(variant)
    torch.save(state, tmp_path / "published.pth")
    pixels = np.random.default_rng(1).integers(0, 256, (1, SIDE, SIDE, 3)).astype(np.float32)

    network = backbones.build_network(variant, side=SIDE, class_count=4, pretrained=tmp_path / "published.pth")

    maps = backbones.keras.Model(network.input, network.get_layer(backbones.FEATURE_LAYER).output)
    own = np.asarray(maps.predict_on_batch(pixels))
    expected = forward(state, torch.from_numpy(pixels / 127.5 - 1).permute(0, 3, 1, 2), variant)
    assert own.shape == (1, 2, 2, 1280)
    assert own == pytest.approx(expected.permute(0, 2, 3, 1).numpy(), abs=1e-3)
    assert own.std() > 0.1


# Without classifier, as published for TensorFlow: 4.65 and 6.09 million less 1,281,000 of the ImageNet head.
@pytest.mark.parametrize(("variant", "millions"), [("efficientnet_lite0", 3.37), ("efficientnet_lite2", 4.81)])
def test_networks_have_the_published_number_of_weights(variant, millions):
    network = backbones.build_network(variant, side=SIDE, class_count=4)

    head = 1280 * 4 + 4
    backbone = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) - head
    assert backbone / 1e6 == pytest.approx(millions, abs=0.01)


def test_weights_of_another_variant_are_refused(tmp_path):
    torch.save(published_state("efficientnet_lite0"), tmp_path / "published.pth")

    with pytest.raises((KeyError, ValueError)):
        backbones.build_network("efficientnet_lite2", side=SIDE, class_count=4, pretrained=tmp_path / "published.pth")


def test_weights_that_are_nowhere_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.h5"):
        backbones.find_pretrained("absent.h5", tmp_path)


def test_weights_in_the_directory_are_found(tmp_path):
    (tmp_path / "some.h5").touch()

    assert backbones.find_pretrained("some.h5", tmp_path) == tmp_path / "some.h5"
