"""The seams that only a running process can prove."""

import subprocess
import sys

from tests.support import REPOSITORY

LOAD_EVERYTHING_THE_WEB_PROCESS_LOADS = """
import sys
import django
django.setup()
from django.urls import get_resolver
import retina_portal.wsgi
assert len(get_resolver().reverse_dict) > 0
print(" ".join(sorted(name for name in ("torch", "tensorflow", "keras", "ml.pipeline") if name in sys.modules)))
"""


def test_the_web_process_loads_no_machine_learning_framework(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", LOAD_EVERYTHING_THE_WEB_PROCESS_LOADS],
        cwd=REPOSITORY,
        env={"DJANGO_SETTINGS_MODULE": "retina_portal.settings", "RETINA_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == []
