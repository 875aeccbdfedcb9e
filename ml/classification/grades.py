"""Grades of diabetic retinopathy in the words of data sets.

Scale: the International Clinical Diabetic Retinopathy severity scale (Wilkinson et al., Ophthalmology 2003;110:1677),
0 no retinopathy, 1 mild, 2 moderate, 3 severe non-proliferative, 4 proliferative.
"""

import re

HIGHEST_GRADE = 4

# The first that matches decides. "Non-proliferative" is taken out before, or it would match "proliferative".
_WORDS = (
    (re.compile(r"\blevel ([0-4])"), None),
    (re.compile(r"\bno.?dr\b|\bn = normal|normal fundus"), 0),
    (re.compile(r"\bmild\b"), 1),
    (re.compile(r"\bmoderate\b"), 2),
    (re.compile(r"\bsevere\b"), 3),
    (re.compile(r"\bproliferat|\bpdr\b|\baded\b"), 4),
)
_NON_PROLIFERATIVE = re.compile(r"\bnon[ -]?proliferative")


def read_grade(original_label: str) -> int | None:
    """Return the grade that a data set's own label states.

    Args:
        original_label: Text of the manifest's column ``original_label``.

    Returns:
        0-4, or None where the label says nothing about retinopathy or gives no grade.
    """
    text = _NON_PROLIFERATIVE.sub("", original_label.lower().partition("|")[0].replace("_", " "))
    for pattern, grade in _WORDS:
        if match := pattern.search(text):
            return int(match[1]) if grade is None else grade
    return None
