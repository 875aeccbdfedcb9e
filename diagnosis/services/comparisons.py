"""Put two diagnoses of one patient beside each other, and lay two visits of one eye over each other."""

import dataclasses
import uuid
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.db import transaction

from diagnosis import access, audit, inference, storage
from diagnosis.access import Capability
from diagnosis.errors import NotFoundError
from diagnosis.inference import Alignment
from diagnosis.models import Diagnosis, Laterality, User

VESSEL_MAP = "vessel_map"
_KEPT_S = 7 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two diagnoses of one patient, of two photographs, in the order in which they are shown.

    Attributes:
        first: The right eye; of one eye, the earlier visit.
        second: The left eye; of one eye, the later visit.
    """

    first: Diagnosis
    second: Diagnosis

    @property
    def is_same_eye(self) -> bool:
        """Whether both show one eye, so that they can be laid over each other."""
        return self.first.image.laterality == self.second.image.laterality


def open_pair(*, acting_user: User, diagnosis_id: uuid.UUID, other_id: uuid.UUID) -> Pair:
    """Bring two diagnoses of one patient together; the reading of both is audited.

    Raises:
        NotAllowedError: The role does not include reading results.
        NotFoundError: One of them is unknown or not the user's to see, they belong to two patients, or they are of
            one photograph.
    """
    pair = find_pair(acting_user=acting_user, diagnosis_id=diagnosis_id, other_id=other_id)
    with transaction.atomic():
        for one, beside in ((pair.first, pair.second), (pair.second, pair.first)):
            audit.record("diagnosis.viewed", acting_user=acting_user, subject=one, beside=str(beside.pk))
    return pair


def find_pair(*, acting_user: User, diagnosis_id: uuid.UUID, other_id: uuid.UUID) -> Pair:
    """Do :func:`open_pair` without its audit rows, for what belongs to an open page.

    Raises:
        NotAllowedError, NotFoundError: As :func:`open_pair`.
    """
    access.require(acting_user, Capability.READ_DIAGNOSES)
    visible = Diagnosis.objects.visible_to(acting_user).with_subject()
    found = visible.in_bulk([diagnosis_id, other_id])
    if len(found) != 2:
        raise NotFoundError
    one, other = found[diagnosis_id], found[other_id]
    # The photograph's own patient counts too: a picture must never stand beside another person's.
    patients = {one.patient_id, other.patient_id, one.image.patient_id, other.image.patient_id}
    if len(patients) != 1 or one.image_id == other.image_id:
        raise NotFoundError
    first, second = sorted((one, other), key=_place)
    return Pair(first=first, second=second)


def _place(diagnosis: Diagnosis) -> tuple[Any, ...]:
    image = diagnosis.image
    return (image.laterality != Laterality.RIGHT, image.taken_at, image.created_at, str(image.pk))


def align(pair: Pair) -> Alignment | None:
    """Find how the first photograph of a pair lies over the second, by their vessel maps.

    The answer is kept in the cache: it depends on the two maps alone.

    Args:
        pair: Two visits of one eye.

    Returns:
        The alignment, usable or not; None when it cannot be tried, because the two are not of one eye or one of
        them has no vessel map.

    Raises:
        DamagedFileError: A vessel map is missing or was changed.
    """
    maps = [diagnosis.artifacts.get(VESSEL_MAP) for diagnosis in (pair.first, pair.second)]
    if not pair.is_same_eye or not all(maps):
        return None
    hashes = ":".join(stored["sha256"] for stored in maps)
    key = f"alignment:{inference.ALIGNMENT_VERSION}:{hashes}"
    known = cache.get(key)
    if known is not None:
        return Alignment(**known)
    moving, fixed = (storage.read_verified(stored["path"], sha256=stored["sha256"]) for stored in maps)
    alignment = inference.align_vessel_maps(fixed=fixed, moving=moving)
    cache.set(key, dataclasses.asdict(alignment), _KEPT_S)
    return alignment
