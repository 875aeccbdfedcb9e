"""Grades of diabetic retinopathy as a second thing to learn: what a photograph's class alone does not say.

The head is ordinal: output k is the logit of "at least grade k + 1" (Frank and Hall, ECML 2001). It exists while
training only.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ml.classification.backbones import HEAD_LAYER, POOLED_LAYER
from ml.classification.grades import HIGHEST_GRADE

GRADE_LAYER = "grade_logits"


def with_grade_head(network: keras.Model) -> keras.Model:
    """Return a model that shares all layers with ``network`` and gives (n, K + 4): class logits, then grade logits."""
    pooled = network.get_layer(POOLED_LAYER).output
    grades = keras.layers.Dense(HIGHEST_GRADE, dtype="float32", name=GRADE_LAYER)(pooled)
    logits = network.get_layer(HEAD_LAYER).output
    return keras.Model(network.input, keras.layers.Concatenate(dtype="float32")([logits, grades]))


def encode_targets(
    labels: NDArray[np.intp], grades: list[int | None], *, class_known: NDArray[np.bool_], class_count: int
) -> NDArray[np.float32]:
    """Put what is known of each photograph into one row.

    Args:
        labels: (n,) class positions.
        grades: n grades; None where unknown.
        class_known: (n,) whether the class may be learnt from this photograph.
        class_count: Number of classes K.

    Returns:
        (n, K + 1 + 4 + 1) float32: one-hot class, 1 where it counts, "at least grade 1-4", 1 where that counts.
    """
    steps = np.arange(1, HIGHEST_GRADE + 1)
    known = np.asarray([grade is not None for grade in grades], dtype=np.float32)
    ordinal = np.asarray([(-1 if grade is None else grade) >= steps for grade in grades], dtype=np.float32)
    one_hot = np.eye(class_count, dtype=np.float32)[labels]
    columns = (one_hot, class_known[:, None].astype(np.float32), ordinal, known[:, None])
    return np.concatenate(columns, axis=1)


def joint_loss(*, class_count: int, label_smoothing: float, grade_weight: float) -> Callable[[Any, Any], Any]:
    """Return the loss of :func:`with_grade_head` against :func:`encode_targets`.

    Args:
        class_count: Number of classes K.
        label_smoothing: Share of each class target spread over all classes.
        grade_weight: Weight of the mean binary cross-entropy of the four grade steps beside the
            cross-entropy of the classes.

    Returns:
        Function of targets and logits to (n,) losses; unknown classes and grades add nothing.
    """
    grades_from = class_count + 1

    def loss(targets: Any, logits: Any) -> Any:
        classes = targets[:, :class_count] * (1 - label_smoothing) + label_smoothing / class_count
        of_class = keras.losses.categorical_crossentropy(classes, logits[:, :class_count], from_logits=True)
        ordinal = targets[:, grades_from : grades_from + HIGHEST_GRADE]
        of_grade = keras.losses.binary_crossentropy(ordinal, logits[:, class_count:], from_logits=True)
        return targets[:, class_count] * of_class + grade_weight * targets[:, -1] * of_grade

    return loss
