"""Check that every stored file is there and unchanged."""

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from diagnosis.services import media_checks

PROGRESS_FILES = 1000


class Command(BaseCommand):
    """``manage.py verify_media [--json]``: exit status 1 when something is wrong."""

    help = "Read every stored file and list what is missing, changed, or named by no record."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add ``--json``."""
        parser.add_argument("--json", action="store_true", help="One JSON object a line, the last one with the counts.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """List what is wrong, by path and id alone."""
        self._looked_at = 0
        counts: Counter[str] = Counter()
        for finding in media_checks.check(on_file=self._progress):
            counts[finding.fault] += 1
            line = (
                json.dumps(asdict(finding)) if options["json"] else f"{finding.fault} {finding.path} {finding.record}"
            )
            self.stdout.write(line.rstrip())
        summary = {fault.value: counts[fault] for fault in media_checks.Fault}
        if options["json"]:
            self.stdout.write(json.dumps(summary))
        else:
            self.stdout.write(", ".join(f"{count} {fault}" for fault, count in summary.items()))
        if counts:
            raise CommandError("The media and the records do not agree.")

    def _progress(self) -> None:
        self._looked_at += 1
        if self._looked_at % PROGRESS_FILES == 0:
            self.stderr.write(f"{self._looked_at} files")
