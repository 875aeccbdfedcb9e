import pytest
import torch

from ml.segmentation.predict import fuse
from ml.segmentation.unet import PROTOTYPE_CHANNELS, STRIP_ROWS, Architecture, VesselNetwork, count_parameters


@pytest.mark.parametrize(
    ("channels", "stages", "side"), [((4, 8), 1, 6), ((4, 8, 16), 1, 12), ((4, 8), 2, 10), ((2, 4, 8, 16), 3, 8)]
)
def test_network_answers_with_one_logit_per_pixel_and_stage(channels, stages, side):
    network = VesselNetwork(Architecture(channels=channels, stages=stages))

    answers = network(torch.zeros(2, 3, side, 2 * side))

    assert [tuple(a.shape) for a in answers] == [(2, 1, side, 2 * side)] * stages


def test_multiple_is_the_reduction_of_the_deepest_level():
    assert Architecture(channels=(4, 8, 16, 32)).multiple == 8
    assert Architecture(channels=(4, 8)).multiple == 2


def test_parameters_of_the_smallest_network_add_up():
    network = VesselNetwork(Architecture(channels=(2, 3), residual=False))

    encoder = (3 * 2 * 9 + 4 + 2 * 2 * 9 + 4) + (2 * 3 * 9 + 6 + 3 * 3 * 9 + 6)
    decoder = (3 * 2 * 4 + 2) + (4 * 2 * 9 + 4 + 2 * 2 * 9 + 4)
    assert count_parameters(network) == encoder + decoder + 2 + 1


def test_prototype_channels_give_its_31_million_parameters():
    network = VesselNetwork(Architecture(channels=PROTOTYPE_CHANNELS, residual=False))

    assert count_parameters(network) == pytest.approx(31_000_000, rel=0.01)


def test_refining_stage_sees_the_first_answer():
    torch.manual_seed(0)
    network = VesselNetwork(Architecture(channels=(4, 8), stages=2)).eval()
    images = torch.randn(1, 3, 8, 8)
    before = network(images)[1]

    with torch.no_grad():
        network.units[0].head.bias += 5.0

    assert not torch.allclose(network(images)[1], before)


@pytest.mark.parametrize("residual", [True, False])
def test_fused_network_gives_the_same_answers(residual):
    torch.manual_seed(0)
    network = VesselNetwork(Architecture(channels=(4, 8), residual=residual))
    network(torch.randn(4, 3, 16, 16))
    network.eval()
    images = torch.randn(1, 3, 16, 16)
    expected = network(images)[-1]

    fused = fuse(network)(images)[-1]

    assert torch.allclose(fused, expected, atol=1e-5)


@pytest.mark.parametrize(("channels", "stages"), [((8,), 1), ((8, 16), 0)])
def test_network_without_depth_or_stage_is_refused(channels, stages):
    with pytest.raises(ValueError, match="two levels and one stage"):
        VesselNetwork(Architecture(channels=channels, stages=stages))


@pytest.mark.parametrize("stages", [1, 2])
def test_inference_in_strips_answers_as_all_at_once(stages):
    torch.manual_seed(5)
    network = VesselNetwork(Architecture(channels=(4, 6, 8), stages=stages)).eval()
    images = torch.randn(1, 3, 3 * STRIP_ROWS + 40, 64)

    with torch.no_grad():
        at_once = network(images)
    with torch.inference_mode():
        in_strips = network(images)

    for expected, answer in zip(at_once, in_strips, strict=True):
        assert torch.allclose(answer, expected, atol=1e-5)
