"""Made-up patients and their visits. Names are invented; every MRN begins with DEMO."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from diagnosis.demo.specs import CameraKind, Condition, Defect, FundusSpec, Laterality

MRN_PREFIX = "DEMO-"
# Of the one patient of the demo's other clinic.
NEIGHBOUR_PATIENT_ID = "00000000-0000-4000-8000-0000000d3301"
EYES: tuple[Laterality, Laterality] = ("R", "L")
LAST_DAY = datetime(2026, 5, 18, 8, 30, tzinfo=UTC)
DR, GLAUCOMA, MYOPIA, NORMAL = (
    Condition.DIABETIC_RETINOPATHY,
    Condition.GLAUCOMA,
    Condition.MYOPIA,
    Condition.NORMAL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPhotograph:
    """One photograph of a visit.

    Attributes:
        key: Stable name of the photograph within the demo, without anything personal.
        captured_at: When it was taken, UTC.
        spec: What to draw; ``spec.defect`` says what is meant to be wrong with it.
    """

    key: str
    captured_at: datetime
    spec: FundusSpec

    @property
    def is_meant_ungradable(self) -> bool:
        """Whether the picture was drawn to be refused by the quality gate."""
        return self.spec.defect is not Defect.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoVisit:
    """One day at the clinic.

    Attributes:
        days_before: Days between this visit and the last day of the demo.
        camera: The camera of that day.
        severity: How far the disease has come, 0-1.
        defects: What goes wrong, by eye.
    """

    days_before: int
    camera: CameraKind
    severity: float = 0.6
    defects: tuple[tuple[Laterality, Defect], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPatient:
    """One made-up person.

    Attributes:
        number: Decides MRN and both eyes.
        given_name: In the person's own script.
        family_name: In the person's own script.
        birth_date: Date of birth.
        sex: ``female`` or ``male``.
        right: What the right eye has.
        left: What the left eye has.
        visits: Oldest first.
    """

    number: int
    given_name: str
    family_name: str
    birth_date: date
    sex: str
    right: Condition
    left: Condition
    visits: tuple[DemoVisit, ...]

    @property
    def mrn(self) -> str:
        """Medical record number, plainly a demo's."""
        return f"{MRN_PREFIX}{self.number:04d}"

    def photographs(self) -> tuple[DemoPhotograph, ...]:
        """Return both eyes of every visit, oldest first, the right eye first."""
        return tuple(
            self._photograph(index, visit, laterality) for index, visit in enumerate(self.visits) for laterality in EYES
        )

    def _photograph(self, index: int, visit: DemoVisit, laterality: Laterality) -> DemoPhotograph:
        spec = FundusSpec(
            seed=5000 + self.number,
            laterality=laterality,
            condition=self.right if laterality == "R" else self.left,
            severity=visit.severity,
            visit=index,
            defect=dict(visit.defects).get(laterality, Defect.NONE),
            camera=visit.camera,
        )
        minutes = 7 * self.number + (2 if laterality == "L" else 0)
        captured_at = LAST_DAY - timedelta(days=visit.days_before) + timedelta(minutes=minutes)
        return DemoPhotograph(
            key=f"demo-{self.number:04d}-{index + 1}-{laterality}", captured_at=captured_at, spec=spec
        )


def _visit(
    days_before: int,
    camera: CameraKind,
    severity: float = 0.6,
    *,
    right: Defect | None = None,
    left: Defect | None = None,
) -> DemoVisit:
    defects: list[tuple[Laterality, Defect]] = []
    if right:
        defects.append(("R", right))
    if left:
        defects.append(("L", left))
    return DemoVisit(days_before=days_before, camera=camera, severity=severity, defects=tuple(defects))


def _patient(
    number: int,
    family_name: str,
    given_name: str,
    born: str,
    sex: str,
    eyes: tuple[Condition, Condition],
    *visits: DemoVisit,
) -> DemoPatient:
    return DemoPatient(
        number=number,
        given_name=given_name,
        family_name=family_name,
        birth_date=date.fromisoformat(born),
        sex=sex,
        right=eyes[0],
        left=eyes[1],
        visits=visits,
    )


_TABLETOP, _TRUNCATED = CameraKind.TABLETOP, CameraKind.TRUNCATED
_WIDE, _HANDHELD = CameraKind.WIDE_BORDER, CameraKind.HANDHELD

# The first four show each condition and most defects: a default demo takes only these.
PATIENTS: tuple[DemoPatient, ...] = (
    _patient(
        1, "Вигадана", "Олена", "1961-03-14", "female", (DR, DR),
        _visit(371, _TABLETOP, 0.35), _visit(4, _TABLETOP, 0.85, left=Defect.BLURRED),
    ),
    _patient(
        2, "Lefictif", "Jean-Baptiste", "1952-11-02", "male", (GLAUCOMA, GLAUCOMA),
        _visit(402, _TRUNCATED, 0.4), _visit(9, _TRUNCATED, 0.8, right=Defect.TOO_DARK),
    ),
    _patient(
        3, "الخيالي", "ليلى", "1988-07-21", "female", (MYOPIA, MYOPIA),
        _visit(190, _TABLETOP, 0.7, right=Defect.CUT_OFF), _visit(2, _WIDE, 1.0),
    ),
    _patient(
        4, "Okafiction", "Chidi", "1975-01-30", "male", (NORMAL, NORMAL),
        _visit(730, _HANDHELD), _visit(11, _TABLETOP, left=Defect.NOT_A_FUNDUS),
    ),
    _patient(
        5, "Неіснуючий", "Юрій", "1968-05-09", "male", (GLAUCOMA, NORMAL),
        _visit(350, _TABLETOP, 0.3), _visit(170, _TABLETOP, 0.5), _visit(6, _WIDE, 0.7),
    ),
    _patient(
        6, "Nguyễn Giả", "Thị Mai", "1994-12-05", "female", (NORMAL, NORMAL),
        _visit(200, _TRUNCATED), _visit(3, _TRUNCATED, right=Defect.OVEREXPOSED),
    ),
    _patient(
        7, "見本", "花子", "1983-08-17", "female", (MYOPIA, NORMAL),
        _visit(365, _TABLETOP, 0.4), _visit(1, _HANDHELD, 0.6),
    ),
    _patient(
        8, "Ficticia Muñoz", "Lucía", "1957-02-26", "female", (DR, NORMAL),
        _visit(540, _WIDE, 0.2), _visit(260, _WIDE, 0.5), _visit(13, _TABLETOP, 0.8),
    ),
    _patient(
        9, "काल्पनिक", "अनिल", "1970-10-11", "male", (DR, DR),
        _visit(180, _HANDHELD, 0.5, left=Defect.TOO_DARK), _visit(5, _TABLETOP, 0.6),
    ),
    _patient(
        10, "الوهمي", "كريم", "1949-04-03", "male", (NORMAL, GLAUCOMA),
        _visit(300, _TRUNCATED, 0.6), _visit(8, _TRUNCATED, 0.9),
    ),
    _patient(
        11, "O'Madeup-Smith", "Siobhán", "2001-06-19", "female", (NORMAL, NORMAL),
        _visit(95, _HANDHELD, right=Defect.BLURRED), _visit(7, _HANDHELD),
    ),
    _patient(
        12, "Φανταστική", "Ελένη", "1944-09-28", "female", (GLAUCOMA, DR),
        _visit(410, _TABLETOP, 0.5), _visit(210, _TABLETOP, 0.6), _visit(10, _TABLETOP, 0.8),
    ),
    _patient(
        13, "Örnekoğlu", "Çağla", "1979-03-06", "female", (MYOPIA, MYOPIA),
        _visit(365, _WIDE, 0.9), _visit(12, _WIDE, 1.0, right=Defect.OVEREXPOSED),
    ),
    _patient(
        14, "Inventé", "Zoé", "2009-12-31", "female", (NORMAL, MYOPIA),
        _visit(150, _TABLETOP, 0.1), _visit(14, _TRUNCATED, 0.3),
    ),
)  # fmt: skip
