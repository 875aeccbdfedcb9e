"""Clients that behave well: the same request with the same key again, until it is accepted."""

import http.client
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.soak import marks
from tests.soak.marks import Errand

TIMEOUT_S = 60
# What a good client waits at most before it asks again, whatever Retry-After says: the run is to last an hour.
LONGEST_PAUSE_S = 3.0
PAUSE_S = 0.5
# Answers after which the same request may succeed; any other refusal of a good request is a defect.
PASSING = {429, 502, 503, 504, 507}
IN_PROGRESS = "idempotency_in_progress"


@dataclass(frozen=True, slots=True)
class Accepted:
    """One submission that was answered with 202.

    Attributes:
        number: Mark of the picture.
        diagnosis: Id that was answered.
        seconds: From the first try to that answer.
        tries: How many requests it took.
    """

    number: int
    diagnosis: str
    seconds: float
    tries: int


class Journal:
    """What was accepted, in a file: a run that was killed goes on from it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.accepted: dict[int, Accepted] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                # The last line may have been cut off in the middle.
                with suppress(ValueError, TypeError):
                    entry = Accepted(**json.loads(line))
                    self.accepted[entry.number] = entry

    def add(self, entry: Accepted) -> None:
        """Remember one for good."""
        with self._lock:
            self.accepted[entry.number] = entry
            with self._path.open("a") as file:
                file.write(json.dumps(asdict(entry)) + "\n")


class Pacer:
    """Lets submissions pass in step with the faults, so that there is work under each of them.

    Args:
        jobs: How many will be submitted at least.
        faults: How many faults there will be.
        ahead: How many submissions may be ahead of the faults.
    """

    def __init__(self, *, jobs: int, faults: int, ahead: int) -> None:
        self._jobs, self._faults, self._ahead = jobs, faults, ahead
        self._condition = threading.Condition()
        self._done = 0
        self._demanded = 0
        self._sent = 0
        self._finishing = False
        self._stopped_at: int | None = None

    def resume(self, *, sent: int, done: int) -> None:
        """Go on where an earlier run of the same plan stopped."""
        self._sent, self._done = sent, done

    def take(self) -> bool:
        """Wait until the next submission may be sent; False when there is none any more."""
        with self._condition:
            self._condition.wait_for(lambda: self._finishing or self._sent < self._allowed())
            if self._sent >= self._allowed():
                return False
            self._sent += 1
            return True

    def _allowed(self) -> float:
        if self._stopped_at is not None:
            return self._stopped_at
        share = 1.0 if self._finishing or not self._faults else (self._done + 1) / self._faults
        return max(min(self._jobs, self._jobs * share + self._ahead), self._demanded)

    def fault_done(self) -> None:
        """Let the share of one fault pass."""
        with self._condition:
            self._done += 1
            self._condition.notify_all()

    def demand(self, count: int) -> None:
        """Let some more pass, if need be beyond the number of jobs: a fault waits for them."""
        with self._condition:
            self._demanded = self._sent + count
            self._condition.notify_all()

    def stop(self) -> None:
        """Let no more pass than have."""
        with self._condition:
            self._stopped_at = self._sent
            self._condition.notify_all()

    def finish(self) -> None:
        """Let the rest of the jobs pass, and then end all waiting."""
        with self._condition:
            self._finishing = True
            self._condition.notify_all()


class HttpClient:
    """One connection to the portal, opened again when it breaks."""

    def __init__(self, address: str) -> None:
        self._host = address.removeprefix("http://")
        self._connection = http.client.HTTPConnection(self._host, timeout=TIMEOUT_S)

    def request(
        self, method: str, path: str, *, token: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, bytes]:
        """Send one request; return status, headers and body.

        Raises:
            OSError, http.client.HTTPException: No answer came.
        """
        sent = {"Authorization": f"Bearer {token}", **(headers or {})}
        try:
            self._connection.request(method, path, body=body, headers=sent)
            answer = self._connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Clients:
    """Threads that send what is to be sent.

    Args:
        address: Of the portal.
        tokens: A token of each clinic.
        patients: Ids of the patients of each clinic.
        journal: Where the accepted ones are noted.
        pacer: When to send.
    """

    def __init__(
        self, address: str, *, tokens: list[str], patients: list[list[str]], journal: Journal, pacer: Pacer
    ) -> None:
        self._address = address
        self._tokens, self._patients = tokens, patients
        self._journal, self._pacer = journal, pacer
        self._waiting: deque[Errand] = deque()
        self._threads: list[threading.Thread] = []
        self.answers: Counter[str] = Counter()
        self.unexpected: Counter[str] = Counter()
        self.taken: list[Errand] = []
        self._stopping = threading.Event()

    def start(self, errands: Iterable[Errand], *, threads: int) -> None:
        """Begin to send those that the journal does not have."""
        for errand in errands:
            is_accepted = errand.number in self._journal.accepted
            (self.taken if is_accepted else self._waiting).append(errand)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _each in range(threads)]
        for thread in self._threads:
            thread.start()

    def finish(self, *, seconds: float) -> bool:
        """Wait until all jobs are accepted, or the time is up; return whether they are."""
        self._pacer.finish()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))
        self._stopping.set()
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        client = HttpClient(self._address)
        while self._pacer.take() and not self._stopping.is_set():
            try:
                errand = self._waiting.popleft()
            except IndexError:
                break
            self.taken.append(errand)
            self._send(client, errand)
        client.close()

    def _send(self, client: HttpClient, errand: Errand) -> None:
        body, content_type = form(
            self._fields(errand), marks.photograph(errand.number), boundary=f"soak{errand.number}"
        )
        headers = {"Content-Type": content_type, "Idempotency-Key": marks.name_of(errand.number)}
        begun = time.monotonic()
        tries = 0
        while not self._stopping.is_set():
            tries += 1
            try:
                status, answered, content = client.request(
                    "POST",
                    f"/api/v1/diagnoses/{errand.endpoint}/",
                    token=self._tokens[errand.clinic],
                    body=body,
                    headers=headers,
                )
            except (OSError, http.client.HTTPException) as error:
                self.answers[type(error).__name__] += 1
                time.sleep(PAUSE_S)
                continue
            if status == 202:
                self.answers["202"] += 1
                seconds = round(time.monotonic() - begun, 3)
                self._journal.add(Accepted(errand.number, json.loads(content)["id"], seconds, tries))
                return
            self._note_refusal(status, content)
            time.sleep(_pause(answered.get("Retry-After")))

    def _fields(self, errand: Errand) -> dict[str, str]:
        return {
            "patient": self._patients[errand.clinic][errand.patient],
            "laterality": errand.laterality,
            "external_id": marks.name_of(errand.number),
        }

    def _note_refusal(self, status: int, content: bytes) -> None:
        code = ""
        with suppress(ValueError, TypeError, AttributeError):
            code = json.loads(content).get("code", "")
        name = f"{status} {code}".strip()
        self.answers[name] += 1
        if status not in PASSING and code != IN_PROGRESS:
            self.unexpected[name] += 1


def form(fields: dict[str, str], photograph: bytes, *, boundary: str) -> tuple[bytes, str]:
    """Encode a submission, the same bytes each time; return the body and its content type."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="photograph.jpg"\r\n'
    parts += [f"{head}Content-Type: image/jpeg\r\n\r\n".encode(), photograph, f"\r\n--{boundary}--\r\n".encode()]
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _pause(retry_after: str | None) -> float:
    if retry_after is None or not retry_after.isdigit():
        return PAUSE_S
    return min(float(retry_after), LONGEST_PAUSE_S)
