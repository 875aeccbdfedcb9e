"""The main points of the contract, each with a command to try it. ``conformance.js`` runs them by their slugs."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise

ACCESS, PATIENTS, SENDING, RESULTS, WEBHOOKS = (
    _("Access"),
    _("Patients"),
    _("Sending photographs"),
    _("Results"),
    _("Webhooks"),
)
# The commands use $PORTAL and $AUTH, which the page sets at its top, and these.
PHOTOGRAPH = "$PORTAL/api/v1/diagnoses/segment-classify/"
DIAGNOSIS = "$PORTAL/api/v1/diagnoses/$DIAGNOSIS/"
WEBHOOK = "$PORTAL/api/v1/webhooks/"
JSON = "-H 'Content-Type: application/json'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One point of the contract.

    Attributes:
        slug: Its name in addresses within the page and in the script.
        group: Heading under which it stands.
        title: What holds.
        meaning: Why it matters to a client program.
        curl: Command for a shell.
        expected: Status and code of the answer, as the contract writes them.
    """

    slug: str
    group: Text
    title: Text
    meaning: Text
    curl: str
    expected: str


CHECKS: tuple[Check, ...] = (
    Check(
        slug="no-token",
        group=ACCESS,
        title=_("Without a token nothing is answered"),
        meaning=_("Every refusal is a problem document: read its code, not its text."),
        curl='curl -i "$PORTAL/api/v1/patients/"',
        expected="401 not_authenticated",
    ),
    Check(
        slug="other-clinic",
        group=ACCESS,
        title=_("Another clinic's record does not exist for you"),
        meaning=_("The answer is the same as for an id that was never given out."),
        curl='curl -i -H "$AUTH" "$PORTAL/api/v1/patients/$OTHER_CLINICS_PATIENT/"',
        expected="404 not_found",
    ),
    Check(
        slug="patient-created",
        group=PATIENTS,
        title=_("Register a patient"),
        meaning=_("Keep the id, or go on naming the patient by MRN."),
        curl=f"""curl -i -H "$AUTH" "$PORTAL/api/v1/patients/" {JSON} \\
  -d '{{"mrn": "A-17", "given_name": "Ada", "family_name": "Example", "birth_date": "1961-03-14", "sex": "female"}}'""",
        expected="201",
    ),
    Check(
        slug="patient-duplicate",
        group=PATIENTS,
        title=_("The same MRN again is refused"),
        meaning=_("Look the patient up by MRN instead: a clinic has each number once."),
        curl=f"""curl -i -H "$AUTH" "$PORTAL/api/v1/patients/" {JSON} \\
  -d '{{"mrn": "A-17", "given_name": "Ada", "family_name": "Example", "sex": "female"}}'
curl -H "$AUTH" "$PORTAL/api/v1/patients/?mrn=A-17\"""",
        expected="409 mrn_duplicate",
    ),
    Check(
        slug="patient-invalid",
        group=PATIENTS,
        title=_("A field that cannot be right is named"),
        meaning=_("Each entry of errors points at a field."),
        curl=f"""curl -i -H "$AUTH" "$PORTAL/api/v1/patients/" {JSON} \\
  -d '{{"mrn": "A-18", "given_name": "Ada", "family_name": "Example", "birth_date": "2999-01-01", "sex": "female"}}'""",
        expected="400 validation_error, pointer /birth_date",
    ),
    Check(
        slug="patient-stale",
        group=PATIENTS,
        title=_("A change on top of somebody else's is refused"),
        meaning=_("Send the ETag that you read as If-Match; read again after 412."),
        curl=f"""curl -i -X PATCH -H "$AUTH" -H 'If-Match: "etag-of-an-earlier-state"' {JSON} \\
  "$PORTAL/api/v1/patients/$PATIENT/" -d '{{"given_name": "Augusta"}}'""",
        expected="412 precondition_failed",
    ),
    Check(
        slug="patient-paging",
        group=PATIENTS,
        title=_("Lists come in pages"),
        meaning=_("Follow next as it is until it is null; no row comes twice."),
        curl="""curl -H "$AUTH" "$PORTAL/api/v1/patients/?page_size=1"
curl -H "$AUTH" "$(curl -s -H "$AUTH" "$PORTAL/api/v1/patients/?page_size=1" | jq -r .next)\"""",
        expected="200, next, results",
    ),
    Check(
        slug="webhook-subscribed",
        group=SENDING,
        title=_("Subscribe before you send"),
        meaning=_("The answer holds the secret, this once. Events from before are not sent later."),
        curl=f"""curl -i -H "$AUTH" "{WEBHOOK}" {JSON} \\
  -d '{{"url": "https://ehr.example.org/hooks/retina", "events": ["diagnosis.succeeded", "diagnosis.ungradable", "review.signed"]}}'""",
        expected="201 with secret",
    ),
    Check(
        slug="photograph-accepted",
        group=SENDING,
        title=_("A photograph is taken in and queued"),
        meaning=_("Location says where the result will be. The key makes it safe to send again."),
        curl=f"""curl -i -H "$AUTH" -H 'Idempotency-Key: order-4711' "{PHOTOGRAPH}" \\
  -F mrn=A-17 -F laterality=R -F external_id=order-4711 -F image=@right-eye.jpg""",
        expected="202, Location",
    ),
    Check(
        slug="key-repeated",
        group=SENDING,
        title=_("The same key and body get the first answer"),
        meaning=_("After a time-out send the request again: no second diagnosis begins."),
        curl=f"""curl -i -H "$AUTH" -H 'Idempotency-Key: order-4711' "{PHOTOGRAPH}" \\
  -F mrn=A-17 -F laterality=R -F external_id=order-4711 -F image=@right-eye.jpg""",
        expected="202, Idempotency-Replayed: true, same id",
    ),
    Check(
        slug="key-reused",
        group=SENDING,
        title=_("The same key with another body is refused"),
        meaning=_("One key stands for one order."),
        curl=f"""curl -i -H "$AUTH" -H 'Idempotency-Key: order-4711' "{PHOTOGRAPH}" \\
  -F mrn=A-17 -F laterality=L -F external_id=order-4711 -F image=@right-eye.jpg""",
        expected="422 idempotency_key_reused",
    ),
    Check(
        slug="other-patient",
        group=SENDING,
        title=_("One photograph is never two patients'"),
        meaning=_("A mix-up is stopped at the door. Somebody has to look."),
        curl=f"""curl -H "$AUTH" "$PORTAL/api/v1/patients/" {JSON} \\
  -d '{{"mrn": "B-18", "given_name": "Bea", "family_name": "Example", "sex": "female"}}'
curl -i -H "$AUTH" "{PHOTOGRAPH}" \\
  -F mrn=B-18 -F laterality=R -F image=@right-eye.jpg""",
        expected="409 image_of_another_patient",
    ),
    Check(
        slug="wrong-type",
        group=SENDING,
        title=_("What is no picture is refused"),
        meaning=_("The content decides, not the name. Nothing is stored."),
        curl=f"""curl -i -H "$AUTH" "{PHOTOGRAPH}" \\
  -F mrn=A-17 -F laterality=R -F 'image=@no-picture.jpg;type=image/jpeg'""",
        expected="415 file_type_unsupported",
    ),
    Check(
        slug="truncated",
        group=SENDING,
        title=_("Half a file is refused"),
        meaning=_("A transfer that broke off is sent again, whole."),
        curl=f"""curl -i -H "$AUTH" "{PHOTOGRAPH}" \\
  -F mrn=A-17 -F laterality=R -F image=@half-a-file.jpg""",
        expected="422 image_truncated",
    ),
    Check(
        slug="dicom-mismatch",
        group=SENDING,
        title=_("A DICOM file must be the patient's own"),
        meaning=_("Its PatientID is compared with the MRN, its laterality with yours."),
        curl=f"""curl -i -H "$AUTH" "{PHOTOGRAPH}" \\
  -F mrn=A-17 -F laterality=R -F 'image=@right-eye.dcm;type=application/dicom'""",
        expected="422 dicom_patient_mismatch",
    ),
    Check(
        slug="waited",
        group=RESULTS,
        title=_("Wait for the result"),
        meaning=_("The answer comes at the end of the job, or after the time that you gave. Keep the loop."),
        curl=f"""until curl -s -H "$AUTH" "{DIAGNOSIS}?wait=20" | tee result.json | jq -e .finished_at; do sleep 1; done
jq '{{status, outcome, prediction, probabilities, quality}}' result.json""",
        expected="200, status succeeded",
    ),
    Check(
        slug="unchanged",
        group=RESULTS,
        title=_("A poll without news is empty"),
        meaning=_("Send the ETag that you read as If-None-Match."),
        curl=f"""ETAG=$(curl -s -o /dev/null -D - -H "$AUTH" "{DIAGNOSIS}" | tr -d '\\r' | sed -n 's/^etag: //Ip')
curl -i -H "$AUTH" -H "If-None-Match: $ETAG" "{DIAGNOSIS}\"""",
        expected="304",
    ),
    Check(
        slug="picture",
        group=RESULTS,
        title=_("Fetch a picture of the analysis"),
        meaning=_("It has the photograph's size, and must not be cached."),
        curl=f"""curl -H "$AUTH" -o vessel_map.png "{DIAGNOSIS}artifacts/vessel_map/\"""",
        expected="200 image/png, no-store",
    ),
    Check(
        slug="found-again",
        group=RESULTS,
        title=_("Find a diagnosis by your own reference"),
        meaning=_("external_id is yours. A filter value that is not known is refused, never ignored."),
        curl="""curl -H "$AUTH" "$PORTAL/api/v1/diagnoses/?external_id=order-4711"
curl -i -H "$AUTH" "$PORTAL/api/v1/diagnoses/?status=ready\"""",
        expected="200, one result; 400 validation_error",
    ),
    Check(
        slug="ungradable",
        group=RESULTS,
        title=_("What is not a fundus gets no disease name"),
        meaning=_("It is taken in and ends ungradable, with reasons and a tip how to retake it."),
        curl=f"""curl -i -H "$AUTH" "{PHOTOGRAPH}" \\
  -F mrn=A-17 -F laterality=R -F image=@not-a-fundus.jpg""",
        expected="202; outcome ungradable, prediction null",
    ),
    Check(
        slug="reviewed",
        group=RESULTS,
        title=_("The clinician's word makes the report final"),
        meaning=_("Until then it is preliminary; a second review amends it."),
        curl=f"""curl -i -H "$AUTH" "{DIAGNOSIS}reviews/" {JSON} \\
  -d '{{"verdict": "change", "label": "Normal", "reason": "The disc is large but healthy."}}'""",
        expected="201; report_status final",
    ),
    Check(
        slug="webhook-ping",
        group=WEBHOOKS,
        title=_("A test event arrives with a good signature"),
        meaning=_("Checked here with the secret, over the id, the time and the body, as your receiver should."),
        curl=f"""curl -i -X POST -H "$AUTH" "{WEBHOOK}$WEBHOOK/ping/"
curl -H "$AUTH" "$PORTAL/api/v1/sandbox/webhook-echo/\"""",
        expected="202; webhook.ping, Webhook-Signature",
    ),
    Check(
        slug="webhook-result",
        group=WEBHOOKS,
        title=_("The end of a diagnosis is told"),
        meaning=_("The message holds ids only; read the result with your token."),
        curl=f"""curl -H "$AUTH" "{WEBHOOK}$WEBHOOK/deliveries/?type=diagnosis.succeeded\"""",
        expected="diagnosis.succeeded or diagnosis.ungradable",
    ),
    Check(
        slug="webhook-removed",
        group=WEBHOOKS,
        title=_("Unsubscribe"),
        meaning=_("The webhook and its log are gone."),
        curl=f"""curl -i -X DELETE -H "$AUTH" "{WEBHOOK}$WEBHOOK/\"""",
        expected="204, then 404 not_found",
    ),
)


def grouped() -> list[tuple[Text, list[Check]]]:
    """Return the checks under their headings, in the order in which they run."""
    groups: dict[str, tuple[Text, list[Check]]] = {}
    for check in CHECKS:
        groups.setdefault(str(check.group), (check.group, []))[1].append(check)
    return list(groups.values())
