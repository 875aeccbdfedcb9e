import numpy as np
import pytest
from PIL import Image

from ml.segmentation.datasets import (
    field_of_view,
    find_sets,
    list_samples,
    partition,
    read_mask,
    read_photograph,
    resize_mask,
)
from tests.ml.segmentation.vessel_sets import write_manifest, write_set


def test_samples_are_matched_by_stem_and_split(tmp_path):
    folder = write_set(tmp_path / "SET", count=3)
    write_manifest(folder, {"00": "train", "01": "test", "02": "train"})

    training = list_samples(folder, split="train")

    assert [(s.dataset, s.name, s.split) for s in training] == [("SET", "00", "train"), ("SET", "02", "train")]
    assert training[0].label == folder / "labels1" / "00.png"
    assert training[0].second is None
    assert len(list_samples(folder)) == 3


@pytest.mark.parametrize("manifest", [None, "", "name\n00\n01\n", "identifier,split\n00,train\n"])
def test_missing_manifest_or_column_puts_every_photograph_in_any_split(tmp_path, manifest):
    folder = write_set(tmp_path / "SET", count=2)
    if manifest is not None:
        (folder / "manifest.csv").write_text(manifest)

    assert len(list_samples(folder, split="test")) == 2


def test_photograph_without_label_is_left_out(tmp_path):
    folder = write_set(tmp_path / "SET", count=2)
    (folder / "labels1" / "01.png").unlink()

    assert [s.name for s in list_samples(folder)] == ["00"]


def test_full_size_labels_win(tmp_path):
    folder = write_set(tmp_path / "SET", count=1)
    for part in ("labels1_full", "fov_full"):
        (folder / part).mkdir()
        Image.new("1", (192, 192), 1).save(folder / part / "00.tif")

    sample = list_samples(folder)[0]

    assert sample.label == folder / "labels1_full" / "00.tif"
    assert sample.fov == folder / "fov_full" / "00.tif"


def test_missing_field_of_view_is_derived(tmp_path):
    folder = write_set(tmp_path / "SET", count=1, side=200)
    declared = read_mask(folder / "fov" / "00.png")
    (folder / "fov" / "00.png").unlink()
    sample = list_samples(folder)[0]

    derived = field_of_view(sample, read_photograph(sample.image)).mask

    assert (derived & declared).sum() / (derived | declared).sum() > 0.97


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "I;16"])
def test_masks_of_any_mode_read_alike(tmp_path, mode):
    mask = np.zeros((20, 30), dtype=bool)
    mask[3:9, 4:20] = True
    if mode == "I;16":
        Image.fromarray(mask.astype(np.uint16) * 65535).save(tmp_path / "m.png")
    else:
        Image.fromarray(mask.astype(np.uint8) * 255).convert(mode).save(tmp_path / "m.png")

    assert np.array_equal(read_mask(tmp_path / "m.png"), mask)


def test_mask_of_zeros_and_ones_in_eight_bits_is_read(tmp_path):
    mask = np.eye(8, dtype=bool)
    Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "m.png")

    assert np.array_equal(read_mask(tmp_path / "m.png"), mask)


@pytest.mark.parametrize("value", [0, 255])
def test_uniform_mask_keeps_its_value(tmp_path, value):
    Image.new("L", (5, 4), value).save(tmp_path / "m.png")

    assert read_mask(tmp_path / "m.png").all() == bool(value)
    assert read_mask(tmp_path / "m.png").any() == bool(value)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_photograph_of_any_mode_becomes_rgb(tmp_path, mode):
    Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode).save(tmp_path / "p.png")

    pixels = read_photograph(tmp_path / "p.png")

    assert pixels.shape == (4, 6, 3)
    assert pixels.dtype == np.uint8
    assert pixels[0, 0].tolist() == [255, 255, 255]


def test_resize_mask_by_nearest_neighbour():
    small = resize_mask(np.array([[True, False], [False, True]]), (4, 4))

    assert np.array_equal(small, np.kron(np.eye(2), np.ones((2, 2))).astype(bool))


def test_sets_are_found_one_level_down(tmp_path):
    write_set(tmp_path / "B", count=1)
    write_set(tmp_path / "A", count=1)

    assert [folder.name for folder in find_sets([tmp_path])] == ["A", "B"]
    assert find_sets([tmp_path / "A"]) == [tmp_path / "A"]


def test_folder_without_images_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="No images/ folder"):
        find_sets([tmp_path])
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match="No images in"):
        list_samples(tmp_path)


def test_partition_holds_the_named_ones_out(tmp_path):
    samples = list_samples(write_set(tmp_path / "SET", count=3))

    kept, aside = partition(samples, ["01"])

    assert [s.name for s in kept] == ["00", "02"]
    assert [s.name for s in aside] == ["01"]
    with pytest.raises(ValueError, match="Held-out photographs"):
        partition(samples, ["99"])
