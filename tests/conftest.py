"""The order of the suite: files that take long begin first, so that both workers end together."""

import pytest

LONG = (
    "test_admin_in_chromium.py",
    "test_send_in_chromium.py",
    "test_receive_in_chromium.py",
    "test_demo.py",
    "test_killpoints.py",
    "test_contract.py",
    "test_bench.py",
    "test_crashes.py",
    "test_vectors.py",
    "test_backup.py",
    "test_integrate.py",
    "test_bulk.py",
    "test_readme.py",
    "test_integrator_docs.py",
    "test_retention_flows.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))
