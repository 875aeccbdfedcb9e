"""What is done to the services that a portal stands on, and the deck that all faults are dealt from."""

import random
import signal
import time

from tests.soak import faults
from tests.soak.faults import EMBEDDED, ON_POSTGRES, RABBITMQ, REDIS, Fault, Met
from tests.soak.stage import NotMetError, Stage

NACKING = "soak-nacking"
_SUBMISSION = b'INSERT INTO "diagnosis_diagnosis"'
_RESULT = b"'succeeded'"


def restart_postgres(stage: Stage, chooser: random.Random) -> Met:
    """Stop PostgreSQL without letting anybody finish; start it again."""
    met = stage.running()
    stage.postgres.stop_immediately()
    try:
        time.sleep(chooser.uniform(0, 4))
    finally:
        stage.postgres.start()
    return met


def leave_submission_in_doubt(stage: Stage, _chooser: random.Random) -> Met:
    """Pass the COMMIT of a submission, and cut the connection instead of the answer."""
    stage.pacer.demand(4)
    if not stage.postgres.proxy.swallow_commit(_SUBMISSION, seconds=20):
        raise NotMetError
    return set()


def leave_result_in_doubt(stage: Stage, _chooser: random.Random) -> Met:
    """Pass the COMMIT of a result, and cut the connection instead of the answer."""
    met = stage.running()
    if not stage.postgres.proxy.swallow_commit(_RESULT, seconds=20):
        raise NotMetError
    return met


def empty_redis(stage: Stage, _chooser: random.Random) -> Met:
    """Make Redis forget everything."""
    met = stage.running()
    stage.redis.empty()
    return met


def restart_redis(stage: Stage, chooser: random.Random) -> Met:
    """Kill -9 Redis and start it again with nothing in it."""
    met = stage.running()
    stage.redis.process.kill()
    stage.redis.process.wait()
    try:
        time.sleep(chooser.uniform(0, 4))
    finally:
        stage.redis.start()
    return met


def freeze_redis(stage: Stage, chooser: random.Random) -> Met:
    """Stop Redis for a while: connections stay open, nothing answers."""
    met = stage.running()
    stage.redis.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(chooser.uniform(3, 6))
    finally:
        stage.redis.process.send_signal(signal.SIGCONT)
    return met


def restart_rabbitmq(stage: Stage, chooser: random.Random) -> Met:
    """Kill -9 RabbitMQ and start it again."""
    met = stage.running()
    stage.rabbitmq.kill()
    try:
        time.sleep(chooser.uniform(0, 3))
    finally:
        stage.rabbitmq.start()
    return met


def freeze_rabbitmq(stage: Stage, chooser: random.Random) -> Met:
    """Stop RabbitMQ for a while: connections stay open, nothing answers."""
    met = stage.running()
    stage.rabbitmq.signal(signal.SIGSTOP)
    try:
        time.sleep(chooser.uniform(3, 6))
    finally:
        stage.rabbitmq.signal(signal.SIGCONT)
    return met


def empty_rabbitmq(stage: Stage, _chooser: random.Random) -> Met:
    """Throw away every message that waits."""
    met = stage.running()
    stage.rabbitmq.control("purge_queue", "diagnoses")
    return met


def make_rabbitmq_nack(stage: Stage, chooser: random.Random) -> Met:
    """Have RabbitMQ refuse every message for a while (a policy on the queue's length)."""
    met = stage.running()
    limit = '{"max-length": 0, "overflow": "reject-publish"}'
    stage.rabbitmq.control("set_policy", NACKING, "^diagnoses$", limit, "--apply-to", "queues")
    try:
        time.sleep(chooser.uniform(2, 5))
    finally:
        stage.rabbitmq.control("clear_policy", NACKING)
    return met


FAULTS = (
    Fault(name="web worker killed between file and commit", part="web", do=faults.kill_web_around_write),
    Fault(name="web worker killed", part="web", do=faults.kill_web),
    Fault(name="web server reloaded under load", part="web", do=faults.reload_web, weight=1),
    Fault(name="sweeper killed", part="sweeper", do=faults.kill_sweeper, weight=2),
    Fault(name="busy child killed", part="workers", do=faults.kill_busy_child, weight=10),
    Fault(name="idle child killed", part="workers", do=faults.kill_idle_child),
    Fault(name="worker killed", part="workers", do=faults.kill_worker, weight=6),
    Fault(name="worker frozen past its lease", part="workers", do=faults.freeze_worker, weight=8),
    Fault(name="supervisor killed", part="supervisor", do=faults.kill_supervisor, weight=1),
    Fault(name="worker of another version beside", part="second host", do=faults.other_version, weight=1),
    Fault(name="host with a wrong clock beside", part="second host", do=faults.wrong_clock, weight=1),
    Fault(name="janitor beside an upload", part="janitor", do=faults.tidy_beside_upload, weight=1),
    Fault(name="janitor with another database", part="janitor", do=faults.sweep_with_other_database, weight=1),
    Fault(name="disk full", part="media", do=faults.fill_disk, needs_mount=True),
    Fault(name="media read-only", part="media", do=faults.protect_media, needs_mount=True),
    Fault(name="media missing", part="media", do=faults.take_media_away, needs_mount=True),
    Fault(name="SQLite locked", part="database", do=faults.lock_database, setups=(EMBEDDED,)),
    Fault(name="queue emptied", part="queue", do=faults.empty_file_queue, setups=(EMBEDDED,)),
    Fault(name="PostgreSQL stopped at once", part="database", do=restart_postgres, setups=ON_POSTGRES),
    Fault(name="commit in doubt: submission", part="commit", do=leave_submission_in_doubt, setups=ON_POSTGRES),
    Fault(name="commit in doubt: result", part="commit", do=leave_result_in_doubt, setups=ON_POSTGRES),
    Fault(name="Redis emptied", part="queue", do=empty_redis, setups=(REDIS,)),
    Fault(name="Redis restarted empty", part="queue", do=restart_redis, setups=(REDIS,)),
    Fault(name="Redis frozen", part="queue", do=freeze_redis, setups=(REDIS,)),
    Fault(name="RabbitMQ stopped at once", part="queue", do=restart_rabbitmq, setups=(RABBITMQ,), weight=1),
    Fault(name="RabbitMQ frozen", part="queue", do=freeze_rabbitmq, setups=(RABBITMQ,)),
    Fault(name="RabbitMQ emptied", part="queue", do=empty_rabbitmq, setups=(RABBITMQ,)),
    Fault(name="RabbitMQ nacking", part="queue", do=make_rabbitmq_nack, setups=(RABBITMQ,)),
)


def possible(setup: str, *, can_mount: bool) -> list[Fault]:
    """Return the faults that a set-up and this machine allow."""
    return [fault for fault in FAULTS if setup in fault.setups and (can_mount or not fault.needs_mount)]


def deal(available: list[Fault], count: int, *, seed: int) -> list[Fault]:
    """Return a sequence of faults: each kind once in any order, then by weight; the same seed deals the same."""
    chooser = random.Random(f"{seed}-faults")
    first = chooser.sample(available, len(available))
    rest = chooser.choices(available, weights=[fault.weight for fault in available], k=max(0, count - len(first)))
    return (first + rest)[:count]
