"""What every flow needs: a county whose time stands still, and no surprises at its end."""

import asyncio
import gc
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
import structlog.testing

sys.path.insert(0, str(Path(__file__).parent.parent))  # the county lies beside the folder of the flows

from county import County, StillLoop, Templates
from two_nodes import TwoNodes

REAL = {"test_tls.py", "test_routes.py", "test_webhooks.py"}


def pytest_asyncio_loop_factories(config: Any, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    """A still loop for every flow but those over real sockets."""
    real = item.path.name in REAL
    return {"real" if real else "still": asyncio.new_event_loop if real else StillLoop}


@pytest.fixture(scope="session")
def ground() -> Iterator[Path]:
    """Where counties lie: in memory if the system has such a place, since what a disk adds here is time alone."""
    memory = Path("/dev/shm")  # noqa: S108  # only a directory made inside it is used
    with tempfile.TemporaryDirectory(prefix="county-", dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


@pytest.fixture(scope="session")
def templates(ground: Path) -> Templates:
    return Templates(ground / "templates")


@pytest.fixture
async def county(ground: Path, templates: Templates) -> AsyncIterator[County]:
    made = County(Path(tempfile.mkdtemp(dir=ground)), templates)
    lost: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
    structlog.reset_defaults()  # a command that ran in this process may have set a level
    with structlog.testing.capture_logs() as made.logs:
        yield made
        await made.close()
    gc.collect(1)
    faults = [each for each in made.logs if "exc_info" in each]
    assert (made.surprises, lost, faults) == ([], [], [])


@pytest.fixture(scope="module")
def grounded(ground: Path, templates: Templates) -> None:
    """Where the nodes of a machine lie, and what they are made from."""
    TwoNodes.ground, TwoNodes.templates = ground, templates
