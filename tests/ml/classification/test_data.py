import numpy as np
import pytest
from PIL import Image

from ml.classification import data
from ml.contracts import Box


def photograph(index=0, *, label="Normal", source="S", group=None, fold=1, quality="strong"):
    return data.LabelledPhotograph(
        file=f"{source}/{label}/{index}.jpg",
        label=label,
        source=source,
        group=group or f"{source}/p{index}",
        fold=fold,
        quality=quality,
    )


def test_class_order_is_the_one_that_every_bundle_and_screen_uses():
    assert data.CLASSES == ("DiabeticRetinopathy", "Glaucoma", "Myopia", "Normal")


def test_manifest_with_three_columns_is_enough(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("\ufefffile,class,source_dataset\na.jpg,Myopia,X\nb.jpg,Cataract,X\n", encoding="utf-8")

    (row,) = data.read_manifest(path)

    assert (row.file, row.label, row.source, row.fold, row.quality) == ("a.jpg", "Myopia", "X", None, "")
    assert row.group == "X/a.jpg"


def test_manifest_without_source_reads_unknown(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("file,class\na.jpg,Normal\n")

    assert data.read_manifest(path)[0].source == "unknown"


@pytest.mark.parametrize(
    ("text", "message"),
    [("file,label\na.jpg,Normal\n", "lacks the column class"), ("file,class\na.jpg,Cataract\n", "no photograph")],
)
def test_unusable_manifest_is_named(tmp_path, text, message):
    path = tmp_path / "m.csv"
    path.write_text(text)

    with pytest.raises(ValueError, match=message):
        data.read_manifest(path)


def test_quality_is_the_first_word(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("file,class,label_quality\na.jpg,Normal,strong; lens artefact\nb.jpg,Myopia,weak (mild DR)\n")

    assert [row.quality for row in data.read_manifest(path)] == ["strong", "weak"]


def test_key_is_the_same_for_a_photograph_and_its_map_and_hides_the_name():
    map_row = photograph()
    map_row = data.LabelledPhotograph(
        file="S/Normal/0.png", label="Normal", source="S", group="g", fold=1, quality="", box=None
    )

    assert photograph().key == map_row.key
    assert len(map_row.key) == 16
    assert "Normal" not in map_row.key


def test_no_patient_is_in_two_parts_of_the_split():
    rows = [photograph(index, group=f"S/p{index // 2}", fold=1 + (index // 2) % 4) for index in range(80)]

    split = data.split_by_fold(rows, test_folds=(1,), validation_folds=(2,), validation_share=0.5)

    parts = [{rows[index].group for index in part} for part in (split.training, split.validation, split.test)]
    assert all(parts)
    assert not (parts[0] & parts[1])
    assert not (parts[0] & parts[2])
    assert not (parts[1] & parts[2])
    assert len(split.training) + len(split.validation) + len(split.test) == 80


def test_split_needs_folds():
    with pytest.raises(ValueError, match="fold5"):
        data.split_by_fold([photograph(fold=None)], test_folds=(1,), validation_folds=(2,))


def test_draws_balance_sources_then_classes_then_label_quality():
    rows = [
        photograph(0, source="A", label="Normal"),
        photograph(1, source="A", label="Normal", quality="weak"),
        photograph(2, source="A", label="Myopia"),
        photograph(3, source="B", label="Normal"),
        photograph(4, source="C", label="Normal"),
    ]

    drawn = data.draw_probabilities(
        rows,
        source_share={"A": 0.75, "B": 0.25},
        class_share={"Normal": 0.4, "Myopia": 0.2},
        quality_weight={"weak": 0.5},
    )

    # Source A: 2/3 Normal, split 1 : 0.5; 1/3 Myopia. Source C has no share.
    assert drawn == pytest.approx([0.75 * 4 / 9, 0.75 * 2 / 9, 0.75 / 3, 0.25, 0.0])


def test_augmentation_changes_the_picture_repeatably():
    crop = np.random.default_rng(0).integers(0, 256, size=(64, 64, 3), dtype=np.uint8)

    first, again, other = (data.augment(crop, np.random.default_rng(seed), data.Augmentation()) for seed in (1, 1, 2))

    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    assert (first == again).all()
    assert (first != other).any()
    assert (first != crop).any()


def test_augmentation_keeps_the_black_surround_black():
    crop = np.zeros((64, 64, 3), dtype=np.uint8)
    crop[20:44, 20:44] = 120
    plain = data.Augmentation(blur_share=0, downscale_share=0, jpeg_share=0)

    changed = data.augment(crop, np.random.default_rng(4), plain)

    assert changed[:6].max() == 0


def test_photograph_without_field_of_view_is_read_on_its_whole_frame(tmp_path):
    Image.new("RGB", (80, 70)).save(tmp_path / "black.png")
    row = data.LabelledPhotograph(file="black.png", label="Normal", source="S", group="g", fold=None, quality="")

    pixels, fov, found = data.load_pixels(row, tmp_path)

    assert found is False
    assert (fov.box.height, fov.box.width) == pixels.shape[:2] == (70, 80)


def test_vessel_map_is_read_exactly_with_its_stored_box(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, size=(50, 60), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "map.png")
    box = Box(top=5, left=10, bottom=45, right=50)
    row = data.LabelledPhotograph(file="map.png", label="Normal", source="S", group="g", fold=None, quality="", box=box)

    pixels, fov, found = data.load_pixels(row, tmp_path)

    assert (pixels == grey[..., None]).all()
    assert fov.box == box
    assert fov.mask.sum() == 40 * 40
    assert found


def test_crops_are_kept_between_runs(tmp_path, monkeypatch):
    Image.new("RGB", (80, 80), (90, 60, 30)).save(tmp_path / "a.png")
    rows = [data.LabelledPhotograph(file="a.png", label="Normal", source="S", group="g", fold=None, quality="")]
    crops, shortcuts = data.load_crops(rows, tmp_path, side=32, cache=tmp_path / "cache")
    monkeypatch.setattr(data, "load_pixels", None)

    again, measures = data.load_crops(rows, tmp_path, side=32, cache=tmp_path / "cache")

    assert (again == crops).all()
    assert (measures == shortcuts).all()
    assert crops.shape == (1, 32, 32, 3)
