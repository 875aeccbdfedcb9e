"""Sample files for integrators: drawn photographs, good and bad, a DICOM file, and what is refused."""

from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO

from diagnosis.demo.drawing import fundus_jpeg
from diagnosis.demo.people import MRN_PREFIX
from diagnosis.demo.specs import CameraKind, Condition, Defect, FundusSpec, Laterality

JPEG, DICOM = "image/jpeg", "application/dicom"
# The DICOM sample speaks of the demo's first patient.
DICOM_PATIENT_ID = f"{MRN_PREFIX}0001"
OPHTHALMIC_8_BIT = "1.2.840.10008.5.1.4.1.1.77.1.5.1"


class Fate(StrEnum):
    """What becomes of a sample that is sent."""

    RESULT = "result"
    UNGRADABLE = "ungradable"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One file to try the portal with.

    Attributes:
        slug: Its name in addresses.
        file_name: Under which it is offered.
        content_type: As it is declared; a refused one may hold something else.
        laterality: The eye that it shows, or is to be sent for.
        fate: What becomes of it.
    """

    slug: str
    file_name: str
    content_type: str
    laterality: Laterality
    fate: Fate

    @property
    def is_picture(self) -> bool:
        """Whether a browser can show it."""
        return self.content_type == JPEG and self.fate is not Fate.REFUSED


SAMPLES: tuple[Sample, ...] = (
    Sample(slug="right", file_name="right-eye.jpg", content_type=JPEG, laterality="R", fate=Fate.RESULT),
    Sample(slug="left", file_name="left-eye.jpg", content_type=JPEG, laterality="L", fate=Fate.RESULT),
    Sample(slug="dicom", file_name="right-eye.dcm", content_type=DICOM, laterality="R", fate=Fate.RESULT),
    Sample(slug="blurred", file_name="blurred.jpg", content_type=JPEG, laterality="R", fate=Fate.UNGRADABLE),
    Sample(slug="dark", file_name="too-dark.jpg", content_type=JPEG, laterality="L", fate=Fate.UNGRADABLE),
    Sample(slug="stranger", file_name="not-a-fundus.jpg", content_type=JPEG, laterality="R", fate=Fate.UNGRADABLE),
    Sample(slug="truncated", file_name="half-a-file.jpg", content_type=JPEG, laterality="R", fate=Fate.REFUSED),
    Sample(slug="text", file_name="no-picture.jpg", content_type=JPEG, laterality="R", fate=Fate.REFUSED),
)
_SPECS: dict[str, FundusSpec] = {
    "right": FundusSpec(seed=9101, laterality="R", camera=CameraKind.HANDHELD),
    "left": FundusSpec(seed=9101, laterality="L", camera=CameraKind.HANDHELD),
    # An eye of its own: the pixels of another sample, sent for another patient, would be refused.
    "dicom": FundusSpec(seed=9102, condition=Condition.GLAUCOMA, severity=0.8, camera=CameraKind.HANDHELD),
    "blurred": FundusSpec(seed=9103, defect=Defect.BLURRED, camera=CameraKind.HANDHELD),
    "dark": FundusSpec(seed=9104, laterality="L", defect=Defect.TOO_DARK, camera=CameraKind.HANDHELD),
    "stranger": FundusSpec(seed=9105, defect=Defect.NOT_A_FUNDUS, camera=CameraKind.HANDHELD),
    "truncated": FundusSpec(seed=9106, defect=Defect.NOT_A_FUNDUS, camera=CameraKind.HANDHELD),
}


def make(sample: Sample) -> bytes:
    """Return the bytes of a sample; the same at every call."""
    if sample.slug == "text":
        return b"These are the words of a text file that somebody named like a photograph.\n"
    jpeg = fundus_jpeg(_SPECS[sample.slug])
    if sample.slug == "dicom":
        return dicom_file(jpeg, patient_id=DICOM_PATIENT_ID, laterality=sample.laterality)
    return jpeg[: len(jpeg) // 2] if sample.slug == "truncated" else jpeg


def dicom_file(jpeg: bytes, *, patient_id: str, laterality: Laterality) -> bytes:
    """Wrap a colour JPEG as a DICOM ophthalmic photograph.

    Args:
        jpeg: Baseline JPEG with three components; becomes the pixel data as it is.
        patient_id: Medical record number in ``PatientID``.
        laterality: Eye.

    Returns:
        A DICOM Part 10 file.
    """
    from PIL import Image
    from pydicom import FileDataset, dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit, generate_uid

    with Image.open(BytesIO(jpeg), formats=("JPEG",)) as picture:
        width, height = picture.size
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = OPHTHALMIC_8_BIT
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["retina portal sample", patient_id, laterality])
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = OPHTHALMIC_8_BIT, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.ImageLaterality = "OP", laterality
    dataset.PatientID, dataset.PatientName = patient_id, "Made-Up^Sample"
    dataset.Rows, dataset.Columns = height, width
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "YBR_FULL_422"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.PlanarConfiguration = 7, 0, 0
    dataset.PixelData = encapsulate([jpeg])
    dataset["PixelData"].VR = "OB"
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
