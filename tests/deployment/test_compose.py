"""The production shape, read as files: no container engine is needed."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml
from django.core.management import get_commands, load_command_class

from diagnosis.api import parsers
from diagnosis.management.commands import portal
from retina_portal import webserver
from tests.deployment.production import COMPOSE, OWN_SERVICES, production_environment
from tests.support import REPOSITORY as ROOT
from tests.support import require

SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
TEST_TOOLS = ("pytest", "playwright", "factory")


def test_the_services_are_those_of_the_architecture():
    assert set(SERVICES) == {"proxy", "web", "worker", "sweeper", "postgres", "redis"}


@pytest.mark.parametrize("service", OWN_SERVICES)
def test_a_services_command_is_one_that_the_portal_has(service):
    python, script, name, *arguments = SERVICES[service]["command"]

    command = load_command_class(get_commands()[name], name)
    parsed = command.create_parser("manage.py", name).parse_args(arguments)

    assert (python, script) == ("python", "manage.py")
    assert parsed is not None


def test_the_image_starts_what_the_web_service_starts():
    last = [line for line in DOCKERFILE.splitlines() if line.startswith("CMD ")][-1]

    assert yaml.safe_load(last.removeprefix("CMD ")) == SERVICES["web"]["command"]


def test_web_and_workers_share_media_and_environment():
    shared = [(tuple(SERVICES[name]["volumes"]), SERVICES[name]["env_file"]) for name in OWN_SERVICES]

    data_dir = production_environment()["RETINA_DATA_DIR"]
    assert shared == [((f"data:{data_dir}",), "deploy/production.env")] * 3


def test_every_service_says_when_it_is_healthy():
    unhealthy = [name for name in SERVICES if name not in OWN_SERVICES and "healthcheck" not in SERVICES[name]]

    assert unhealthy == []
    assert "HEALTHCHECK" in DOCKERFILE


def test_only_the_proxy_can_be_reached_from_outside():
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    assert [name for name, service in SERVICES.items() if "outside" in service["networks"]] == ["proxy"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}


def test_the_queue_survives_a_restart_and_evicts_nothing():
    command = shlex.join(SERVICES["redis"]["command"])

    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert SERVICES["redis"]["volumes"] == ["queue:/data"]


def test_a_worker_may_finish_its_job_before_it_is_stopped(settings):
    grace = int(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))

    assert grace > portal.WHOLE_JOB_SECONDS > settings.CELERY_TASK_TIME_LIMIT
    assert int(SERVICES["web"]["stop_grace_period"].removesuffix("s")) > portal.STOP_SECONDS


def test_the_image_runs_as_a_user_without_rights():
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)

    assert users
    assert users[-1] not in {"root", "0"}


def test_the_image_holds_the_code_its_pages_and_the_weights_alone():
    rules = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    code = {"manage.py", "retina_portal", "diagnosis", "ml", "templates", "static", "locale", "requirements.txt"}

    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == code
    assert "\nCOPY . .\n" in DOCKERFILE


def test_the_image_carries_no_test_tools():
    carried = (ROOT / "requirements.txt").read_text(encoding="utf-8").partition("\n# Tests")[0]

    assert "sed '/^# Tests/,$d' requirements.txt" in DOCKERFILE
    assert "gunicorn" in carried
    assert [tool for tool in TEST_TOOLS if tool in carried] == []


def test_proxy_and_web_server_let_the_portal_refuse_large_bodies_itself():
    config = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    limit = int(re.search(r"client_max_body_size (\d+)m;", config).group(1))

    assert limit * 1024 * 1024 > webserver.BODY_BYTES > parsers.BATCH_BODY_BYTES > parsers.DRAINED_BYTES
    assert "proxy_set_header X-Forwarded-Proto https;" in config


def test_the_shipped_production_settings_pass_the_deployment_check():
    bundles = ROOT / "ml" / "bundles"
    require(len(list(bundles.glob("*/bundle.toml"))) >= 3, "the model bundles are not all here")
    ended = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **production_environment()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr


def test_the_example_environment_ships_no_usable_secret():
    example = (ROOT / "deploy" / "production.env.example").read_text(encoding="utf-8")
    secrets_of_it = re.findall(r"^(DJANGO_SECRET_KEY|POSTGRES_PASSWORD)=(.*)$", example, re.MULTILINE)

    assert dict(secrets_of_it) == {"DJANGO_SECRET_KEY": "change-me", "POSTGRES_PASSWORD": "change-me"}
