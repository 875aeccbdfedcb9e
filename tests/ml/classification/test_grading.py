import keras
import numpy as np
import pytest

from ml.classification import grades, grading


@pytest.mark.parametrize(
    ("original_label", "grade"),
    [
        ("official trainLabels level 3 (Severe); Kaggle 4-class", 3),
        ("APTOS train grade Proliferate_DR", 4),
        ("mild nonproliferative retinopathy | patient flags D", 1),
        ("moderate non proliferative retinopathy | patient flags D", 2),
        ("severe nonproliferative retinopathy", 3),
        ("proliferative diabetic retinopathy", 4),
        ("normal fundus | patient flags D", 0),
        ("1 - No DR", 0),
        ("10 - ADED", 4),
        ("diabetic retinopathy | patient flags D", None),
        ("glaucoma | patient flags G", None),
        ("", None),
    ],
)
def test_grade_is_read_from_the_words_of_each_data_set(original_label, grade):
    assert grades.read_grade(original_label) == grade


def test_targets_mark_what_is_not_known():
    targets = grading.encode_targets(
        np.asarray([1, 0]), [None, 2], class_known=np.asarray([True, False]), class_count=4
    )

    assert targets.tolist() == [
        [0, 1, 0, 0, 1, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 1, 1, 0, 0, 1],
    ]


def test_loss_is_the_sum_of_what_is_known():
    logits = np.zeros((3, 8), dtype=np.float32)
    targets = grading.encode_targets(
        np.asarray([0, 0, 0]), [None, 0, 4], class_known=np.asarray([True, False, True]), class_count=4
    )

    loss = grading.joint_loss(class_count=4, label_smoothing=0.1, grade_weight=0.5)
    losses = keras.ops.convert_to_numpy(loss(keras.ops.convert_to_tensor(targets), keras.ops.convert_to_tensor(logits)))

    # Uniform logits: ln 4 for four classes, ln 2 for each grade step.
    assert losses == pytest.approx([np.log(4), np.log(2) / 2, np.log(4) + np.log(2) / 2], rel=1e-5)
