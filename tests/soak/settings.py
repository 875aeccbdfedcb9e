"""Settings of a soak run: the product's own, with shorter leases so that many faults fit into it."""

from retina_portal.settings import *  # noqa: F403

LEASE_SECONDS = 4
LEASE_RENEWAL_SECONDS = 1
SWEEP_SECONDS = 1
QUEUE_DEPTH_LIMIT = 100_000
MIN_FREE_BYTES = 0
