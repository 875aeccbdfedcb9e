"""Write ``docs/soak.md`` from the reports in ``docs/soak/``: ``python -m tests.soak.page``."""

import json
import sys
from typing import Any

from tests.support import REPOSITORY

REPORTS = REPOSITORY / "docs" / "soak"
PAGE = REPOSITORY / "docs" / "soak.md"
MUTANTS = "mutants.json"

INTRODUCTION = """\
# Soak

Written by `python -m tests.soak.page` from the reports in `docs/soak/`; do not edit it.

A soak runs the portal as the README does (`manage.py portal`: web server, workers, sweeper, kept by a service manager's
stand-in) on services of its own, sends photographs over HTTP from several clients of two clinics, and harms the portal
while it works. The clients behave well: after a lost connection, 409 *in progress*, 429, 503 or 507 they send the same
request with the same `Idempotency-Key` again. Any other refusal of a good photograph counts as a wrong.

* **Jobs** take 0.5 to 2.5 s, 1.5 s on average: a stub that sleeps takes the place of the networks, as processor time
  is not what is tried here. Some photographs go through the real pipeline, and some end their worker each time (poison).
* **Marks**: every photograph bears a number, as a block of squares that survives the re-encoding. The stub reads it from
  the pixels that it is given and writes it into each picture and into the probabilities. At the end all of it is compared
  with what was sent: the stored photograph, the result, each stored picture, patient, eye and mode of the record; of the
  first diagnoses also what the portal shows over HTTP.
* **Faults** wait for a running job and hit the process that runs it, or what that job needs. *Met* counts those during
  which a running job lost its process, its database, its media or its queue; those of the web server, the sweeper
  and the janitor never count. Below 30 % met a run is not sound.
* **Given up** are jobs that faults met three times: they fail by the rule of three attempts, and a person is told.
* Kept short for the soak: a lease of 4 s (product: 30 s), a sweep each second (5 s), orphaned files go to quarantine
  after half a minute (an hour). Static files are not compressed at each start.
* *Worker of another version beside* is a second host's worker and sweeper whose results bear another version number,
  ended politely or by force in the midst of a job, and *web server reloaded* replaces the web processes under load; it is
  the same code under two versions, not an older release. *Host with a wrong clock* is such a host whose Django clock is an
  hour fast or slow.

```
python -m tests.soak --setup embedded --jobs 5000 --faults 500 --workers 8 --seed 1 --resume DIRECTORY --report FILE
python -m tests.soak.mutants            # breaks the product in each way below; every soak must turn red
```

The long form is that command on each set-up; the tables below say what the runs kept here really had. Given again, it goes on where it was killed, as long as its media are still mounted; told to stop, it reports on what it had. Media faults need root, for mounting.
"""


def main() -> None:
    """Write the page."""
    reports = [json.loads(path.read_text()) for path in sorted(REPORTS.glob("*.json")) if path.name != MUTANTS]
    mutants = REPORTS / MUTANTS
    PAGE.write_text(written(reports, json.loads(mutants.read_text()) if mutants.exists() else []))
    sys.stdout.write(f"{PAGE.relative_to(REPOSITORY)}\n")


def written(reports: list[dict[str, Any]], mutants: list[dict[str, Any]]) -> str:
    """Return the page's text."""
    parts = [INTRODUCTION]
    if reports:
        parts += ["## Runs\n", _table(_overview(reports)), "## Faults by kind\n", _table(_kinds(reports))]
        parts += ["Done, and in brackets how many of them met a running job.\n", "## Answers to the clients\n"]
        parts += [_table(_answers(reports))]
    parts += ["## Mutants\n", _table(_mutants({mutant["name"]: mutant for mutant in mutants}))]
    return "\n".join(parts)


def _overview(reports: list[dict[str, Any]]) -> list[list[str]]:
    def row(name: str, of: Any) -> list[str]:
        return [name, *(str(of(report)) for report in reports)]

    wrongs = reports[0]["wrong"]
    return [
        ["", *(report["setup"] for report in reports)],
        row("sound", lambda report: "yes" if report["sound"] else "**no**"),
        row("jobs accepted", lambda report: f"{report['accepted']} of {report['jobs']} asked for"),
        row("faults done", lambda report: report["faults"]),
        row("… that met a running job", lambda report: report["faults_met"]),
        row("… that found no moment", lambda report: report["faults_missed"]),
        row("jobs met at least once", lambda report: report["jobs_met"]),
        *(row(name.replace("_", " "), lambda report, name=name: report["wrong"][name]) for name in wrongs),
        row("given up after three faults", lambda report: report["given_up"]),
        row("poison, real pictures", lambda report: f"{report['poison']}, {report['real']}"),
        row("pictures compared, stored", lambda report: report["pictures"]["stored"]),
        row("pictures compared, over HTTP", lambda report: report["pictures"]["shown"]),
        row(
            "seconds to acceptance p50, p95, longest",
            lambda report: ", ".join(map(str, report["acceptance_s"].values())),
        ),
        row("minutes under faults", lambda report: round(report["seconds"]["running"] / 60, 1)),
        row("seconds until all had finished", lambda report: report["seconds"]["settling"]),
        row("files left to the janitor", lambda report: sum(report["leftovers"].values())),
        row("workers, seed", lambda report: f"{report['workers']}, {report['seed']}"),
        row("commit", lambda report: f"`{report['commit']}`"),
        row("machine", lambda report: report["machine"]),
    ]


def _kinds(reports: list[dict[str, Any]]) -> list[list[str]]:
    names = sorted({name for report in reports for name in report["by_kind"]})

    def cell(report: dict[str, Any], name: str) -> str:
        found = report["by_kind"].get(name)
        return "" if found is None else f"{found['done']} ({found['met']})"

    return [["", *(report["setup"] for report in reports)]] + [
        [name, *(cell(report, name) for report in reports)] for name in names
    ]


def _answers(reports: list[dict[str, Any]]) -> list[list[str]]:
    names = sorted({name for report in reports for name in report["answers"]})
    return [["", *(report["setup"] for report in reports)]] + [
        [name, *(str(report["answers"].get(name, 0)) for report in reports)] for name in names
    ]


def _mutants(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    from tests.soak.mutants import ALL

    return [["what was broken", "set-up", "the soak said"]] + [
        [mutant.name, mutant.setup, _said(found.get(mutant.name))] for mutant in ALL
    ]


def _said(mutant: dict[str, Any] | None) -> str:
    if mutant is None:
        return "not tried yet"
    if not mutant["is_seen"]:
        return "**not seen**"
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in mutant["wrong"].items() if count)


def _table(rows: list[list[str]]) -> str:
    head, *rest = rows
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rest)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
