from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from chromium import chromium
from house import KENT, House, Quarry, opened


@pytest.fixture(scope="session")
def quarry(tmp_path_factory: pytest.TempPathFactory) -> Quarry:
    return Quarry(tmp_path_factory.mktemp("quarry"))


@pytest.fixture
async def house(tmp_path: Path, quarry: Quarry) -> AsyncIterator[House]:
    """A new node with nobody in it."""
    await quarry.copy(KENT, tmp_path / "kent")
    async with opened(tmp_path / "kent", KENT, host="localhost") as made:
        yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Any]:
    """One browser for every test in it, which must run in the session's loop; each opens windows of its own."""
    async with chromium() as made:
        yield made
