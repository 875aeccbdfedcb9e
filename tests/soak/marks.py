"""The mark that each picture of a soak carries, and where it must be found again."""

import enum
import io
import random
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diagnosis.demo.specs import STAMP_BITS, FundusSpec
from diagnosis.demo.stamps import paint_stamp, read_stamp

INDEX_BITS = STAMP_BITS - 2
ARTIFACTS = ("vessel_map", "vessel_overlay", "grad_cam", "grad_cam_overlay")
SIDE = 224
ARTIFACT_SIDE = 64
_PREFIX = "soak-"
_PROBABILITY_STEPS = 2 ** (STAMP_BITS + 2)


class Kind(enum.IntEnum):
    """What a worker does with the picture; the mark's upper bits say it."""

    STUB = 0
    REAL = 1
    POISON = 2


def number_of(kind: Kind, index: int) -> int:
    """Return the mark of the ``index``-th picture."""
    if not 0 <= index < 2**INDEX_BITS:
        raise ValueError("a soak has fewer pictures than that")
    return kind << INDEX_BITS | index


def kind_of(number: int) -> Kind:
    """Return what is to be done with a marked picture."""
    return Kind(number >> INDEX_BITS)


def name_of(number: int) -> str:
    """Return the client's reference and key of a marked picture."""
    return f"{_PREFIX}{number}"


def number_named(name: str) -> int | None:
    """Return the mark that a client's reference holds, None for another client's."""
    digits = name.removeprefix(_PREFIX)
    return int(digits) if name.startswith(_PREFIX) and digits.isdigit() else None


# --- The photograph --------------------------------------------------------------------------------
def photograph(number: int) -> bytes:
    """Return the JPEG that bears the mark: a plain lit disc, or a drawn eye for the real pipeline."""
    image = (_eye() if kind_of(number) is Kind.REAL else _disc()).copy()
    paint_stamp(image, number)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


@cache
def _disc() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE - 0.5
    light = np.clip(1 - 1.4 * np.hypot(rows, columns) ** 2, 0, 1) * (np.hypot(rows, columns) < 0.48)
    return (light[..., None] * np.array([200, 90, 40])).astype(np.uint8)


@cache
def _eye() -> NDArray[np.uint8]:
    from diagnosis.demo.drawing import draw_fundus

    picture = Image.fromarray(draw_fundus(FundusSpec(seed=12, laterality="R")))
    picture.thumbnail((640, 640))
    return np.asarray(picture)


def read(picture: bytes) -> int:
    """Return the mark that a picture bears.

    Raises:
        ValueError: It bears none.
    """
    return read_stamp(np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")))


# --- What the stub finds ----------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Origin:
    """What an artefact of the stub says of itself.

    Attributes:
        number: The mark of the photograph it was made from.
        name: Which artefact it is.
        version: Of the code that made it.
    """

    number: int
    name: str
    version: int


def artifact(origin: Origin) -> bytes:
    """Return a small PNG that bears mark, name and version."""
    image = np.zeros((ARTIFACT_SIDE, ARTIFACT_SIDE, 3), dtype=np.uint8)
    paint_stamp(image, origin.number)
    image[0, 0] = ARTIFACTS.index(origin.name), origin.version, 0
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def read_artifact(picture: bytes) -> Origin:
    """Return what an artefact says of itself.

    Raises:
        ValueError: It bears no mark.
    """
    image = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
    name, version, _unused = (int(value) for value in image[0, 0])
    return Origin(number=read_stamp(image), name=ARTIFACTS[name], version=version)


def probabilities(number: int) -> dict[str, float]:
    """Return four probabilities that sum to 1 and tell the mark."""
    first = 0.25 + number / _PROBABILITY_STEPS
    rest = (1 - first) / 3
    return {"DiabeticRetinopathy": first, "Glaucoma": rest, "Myopia": rest, "Normal": 1 - first - 2 * rest}


def number_told(found: dict[str, float]) -> int:
    """Return the mark that probabilities tell."""
    return round((found["DiabeticRetinopathy"] - 0.25) * _PROBABILITY_STEPS)


def seconds_of_work(number: int) -> float:
    """Return how long the stub works on a picture: 0.5 to 2.5 s, 1.5 on average, by its mark."""
    return random.Random(number).uniform(0.5, 2.5)


# --- Whose eye --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Errand:
    """One submission as it is to be sent.

    Attributes:
        number: Mark of the picture.
        clinic: Which clinic sends it.
        patient: Which of that clinic's patients it shows.
        laterality: Which eye.
        endpoint: Last part of the address.
    """

    number: int
    clinic: int
    patient: int
    laterality: str
    endpoint: str


def errands(
    count: int, *, seed: int, real: int, poison: int, clinics: int, patients: int, spare: int = 0
) -> list[Errand]:
    """Return the submissions of a run, and spare ones for the stub; the same arguments give the same ones."""
    chooser = random.Random(f"{seed}-errands")
    special = chooser.sample(range(count), real + poison)
    kinds = dict.fromkeys(special[:real], Kind.REAL) | dict.fromkeys(special[real:], Kind.POISON)
    return [
        Errand(
            number=number_of(kinds.get(index, Kind.STUB), index),
            clinic=chooser.randrange(clinics),
            patient=chooser.randrange(patients),
            laterality=chooser.choice("RL"),
            endpoint=chooser.choice(["classify", "segment-classify"]),
        )
        for index in range(count + spare)
    ]
