"""Running portals, one for each set of services, shared by the tests of a module."""

import pytest

from tests.flows import stack as stacks


@pytest.fixture(scope="module", params=["embedded", "postgres-redis", "postgres-rabbitmq"])
def stack(request, tmp_path_factory):
    """Start a real portal with real models on the named services."""
    made = stacks.make_stack(request.param, tmp_path_factory.mktemp(request.param))
    try:
        made.start()
        yield made
        made.stop()
    finally:
        if made.process is not None:
            made.process.kill()
        stacks.remove_services(made)
