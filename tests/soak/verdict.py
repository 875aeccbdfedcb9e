"""Compare what was sent with what is stored, and with what the portal answers."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diagnosis import audit
from diagnosis.lifecycle import Status
from diagnosis.models import AuditEvent, Diagnosis, FundusImage
from tests.soak import marks
from tests.soak.clients import Accepted
from tests.soak.marks import Errand, Kind

MAX_ATTEMPTS = 3
# What must not happen, in the order of the report.
WRONGS = {
    "lost": "accepted, and no record of it",
    "doubled": "more than one record or result of one submission",
    "swapped": "a picture, number, person or eye of another submission",
    "stuck": "not finished 120 s after the last fault",
    "poison_not_failed": "a poison job that did not fail after three attempts",
    "wrongly_failed": "failed, and neither poison nor interrupted three times",
    "without_file": "accepted, and its photograph is missing or changed",
    "stray_results": "a result, or pictures, of an attempt that did not hold the job",
    "unreadable": "a picture that the portal did not show",
    "below_mount_point": "a file written where the media should have been",
    "audit_broken": "the chain of audit events does not hold",
    "not_accepted": "a good submission that was never accepted",
    "refused": "an answer that a good client does not expect",
}
# Reads one picture or record over HTTP: clinic and path to status and body.
Fetch = Callable[[int, str], tuple[int, bytes]]


@dataclass(kw_only=True)
class Ledger:
    """What is known outside of the portal.

    Attributes:
        errands: What was to be sent.
        accepted: What was answered with 202, by mark.
        hits: How often faults met the job of a mark.
        patients: Ids of the patients by clinic.
    """

    errands: list[Errand]
    accepted: dict[int, Accepted]
    hits: Counter[int]
    patients: list[list[str]]


@dataclass(kw_only=True)
class Verdict:
    """The counts of one run.

    Attributes:
        wrong: Counts by the names of ``WRONGS``.
        given_up: Jobs that failed rightly: faults had met them at least three times.
        pictures: How many pictures were compared, on the disk and over HTTP.
        examples: A few marks of each wrong.
    """

    wrong: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(WRONGS, 0)))
    given_up: int = 0
    pictures: Counter[str] = field(default_factory=lambda: Counter(stored=0, shown=0))
    examples: dict[str, list[Any]] = field(default_factory=dict)

    def blame(self, what: str, example: Any) -> None:
        """Count one wrong."""
        self.wrong[what] += 1
        self.examples.setdefault(what, [])
        if len(self.examples[what]) < 5:
            self.examples[what].append(example)


def judge(ledger: Ledger, *, media: Path) -> Verdict:
    """Compare every record and every stored picture with what was sent."""
    verdict = Verdict()
    rows = {str(row.pk): row for row in Diagnosis.objects.select_related("image")}
    named = Counter(marks.number_named(row.external_id) for row in rows.values())
    results = Counter(AuditEvent.objects.filter(action="diagnosis.succeeded").values_list("object_id", flat=True))
    for errand in ledger.errands:
        entry = ledger.accepted.get(errand.number)
        if entry is None:
            verdict.blame("not_accepted", errand.number)
            continue
        row = rows.get(entry.diagnosis)
        if row is None:
            verdict.blame("lost", errand.number)
            continue
        if named[errand.number] > 1 or results[entry.diagnosis] > 1:
            verdict.blame("doubled", errand.number)
        _judge_subject(verdict, errand, row, ledger=ledger, media=media)
        _judge_end(verdict, errand, row, ledger=ledger, media=media)
    _judge_attempts(verdict, rows)
    if audit.first_broken_link() is not None:
        verdict.blame("audit_broken", audit.first_broken_link())
    return verdict


def _judge_subject(verdict: Verdict, errand: Errand, row: Diagnosis, *, ledger: Ledger, media: Path) -> None:
    """Whose eye it is, and whether the photograph is the one that was sent."""
    image = row.image
    expected = (
        ledger.patients[errand.clinic][errand.patient],
        errand.laterality,
        errand.endpoint.replace("-", "_"),
        marks.name_of(errand.number),
        hashlib.sha256(marks.photograph(errand.number)).hexdigest(),
    )
    found = (str(row.patient_id), image.laterality, row.mode, row.external_id, image.source_sha256)
    if found != expected or image.patient_id != row.patient_id:
        verdict.blame("swapped", errand.number)
    stored = _stored(media / image.path, sha256=image.sha256)
    if stored is None:
        verdict.blame("without_file", errand.number)
        return
    verdict.pictures["stored"] += 1
    if not _bears(stored, errand.number):
        verdict.blame("swapped", errand.number)


def _judge_end(verdict: Verdict, errand: Errand, row: Diagnosis, *, ledger: Ledger, media: Path) -> None:
    """What became of the job, and whether its result is its own."""
    kind = marks.kind_of(errand.number)
    if not row.is_finished:
        verdict.blame("stuck", errand.number)
    elif kind is Kind.POISON:
        if (row.status, row.attempt) != (Status.FAILED, MAX_ATTEMPTS):
            verdict.blame("poison_not_failed", errand.number)
    elif row.status != Status.SUCCEEDED:
        if row.attempt == MAX_ATTEMPTS and ledger.hits[errand.number] >= MAX_ATTEMPTS:
            verdict.given_up += 1
        else:
            verdict.blame("wrongly_failed", [errand.number, row.error_code, row.attempt, ledger.hits[errand.number]])
    else:
        _judge_result(verdict, errand, row, media=media)


def _judge_result(verdict: Verdict, errand: Errand, row: Diagnosis, *, media: Path) -> None:
    if marks.kind_of(errand.number) is Kind.STUB and marks.number_told(row.probabilities) != errand.number:
        verdict.blame("swapped", errand.number)
    for name, artifact in row.artifacts.items():
        content = _stored(media / artifact["path"], sha256=artifact["sha256"])
        if content is None:
            verdict.blame("without_file", [errand.number, name])
            continue
        verdict.pictures["stored"] += 1
        if not is_own(content, errand.number, name=name, bundles=row.model_bundles):
            verdict.blame("swapped", [errand.number, name])


def is_own(content: bytes, number: int, *, name: str, bundles: list[dict[str, Any]]) -> bool:
    """Whether an artefact is this photograph's, the one that its name says, by the code that the result names."""
    if marks.kind_of(number) is Kind.REAL:
        # A map shows no mark; what is laid over the photograph does.
        return "overlay" not in name or _bears(content, number)
    try:
        origin = marks.read_artifact(content)
    except ValueError:
        return False
    versions = {bundle["version"] for bundle in bundles}
    return origin == marks.Origin(number, name, origin.version) and versions == {f"{origin.version}.0.0"}


def _judge_attempts(verdict: Verdict, rows: dict[str, Diagnosis]) -> None:
    """A result must come from the attempt that held the job."""
    winners = {
        event.object_id: event.details["attempt"] for event in AuditEvent.objects.filter(action="diagnosis.succeeded")
    }
    for key, row in rows.items():
        if row.status != Status.SUCCEEDED:
            continue
        attempts = {int(artifact["path"].split("/")[-2]) for artifact in row.artifacts.values()}
        if attempts - {row.attempt} or winners.get(key) != row.attempt:
            verdict.blame("stray_results", key)


def judge_shown(verdict: Verdict, ledger: Ledger, *, fetch: Fetch, errands: Iterable[Errand]) -> None:
    """Fetch results and pictures as a client does, and compare them with what was sent."""
    import json

    for errand in errands:
        entry = ledger.accepted.get(errand.number)
        if entry is None:
            continue
        path = f"/api/v1/diagnoses/{entry.diagnosis}/"
        status, body = fetch(errand.clinic, path)
        if status != 200:
            verdict.blame("unreadable", [errand.number, status])
            continue
        shown = json.loads(body)
        if shown["external_id"] != marks.name_of(errand.number) or shown["laterality"] != errand.laterality:
            verdict.blame("swapped", errand.number)
        for name, address in (shown["artifacts"] or {}).items():
            if address:
                _judge_picture(verdict, errand, name, fetch(errand.clinic, f"{path}artifacts/{name}/"), shown["models"])


def _judge_picture(
    verdict: Verdict, errand: Errand, name: str, answer: tuple[int, bytes], bundles: list[dict[str, Any]]
) -> None:
    status, content = answer
    if status != 200:
        verdict.blame("unreadable", [errand.number, name, status])
        return
    verdict.pictures["shown"] += 1
    is_right = (
        _bears(content, errand.number)
        if name == "photograph"
        else is_own(content, errand.number, name=name, bundles=bundles)
    )
    if not is_right:
        verdict.blame("swapped", [errand.number, name])


def unnamed_results(media: Path) -> list[str]:
    """Return the stored pictures of attempts that no record names."""
    named = {
        artifact["path"]
        for artifacts in Diagnosis.objects.values_list("artifacts", flat=True)
        for artifact in artifacts.values()
    }
    found = (path for path in (media / "diagnoses").rglob("*") if path.is_file())
    return sorted({str(path.relative_to(media)) for path in found} - named)


def unnamed_photographs(media: Path) -> list[str]:
    """Return the stored photographs that no record names: what a process left that died before its commit."""
    named = set(FundusImage.objects.values_list("path", flat=True))
    found = (path for path in (media / "images").rglob("*") if path.is_file())
    return sorted({str(path.relative_to(media)) for path in found} - named)


def _stored(path: Path, *, sha256: str) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == sha256 else None


def _bears(picture: bytes, number: int) -> bool:
    try:
        return marks.read(picture) == number
    except ValueError:
        return False
