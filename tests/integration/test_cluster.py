"""M50, M62: what keeps and moves candles does so on a Redis Cluster too, and no node ever refuses a key."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.redis_cluster import cluster
from tests.support.stack import GIVEN, ROOT

pytestmark = pytest.mark.services

ON_BOTH = (
    "test_ledger", "test_window", "test_record", "test_close", "test_larger", "test_carry", "test_shared_pool",
    "test_overflow", "test_rebuild", "test_migration", "test_key_audit", "test_publish", "test_indicators_service",
    "test_ingest",
)  # fmt: skip


@pytest.mark.timeout(600)
def test_cache_ledger_and_migration_on_three_masters(tmp_path):
    files = [f"tests/candles/{name}.py" for name in ON_BOTH] + ["tests/web/test_overflow.py"]
    with cluster(tmp_path) as running:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "not services and not slow", *files, "--state-cluster",
             running.state_url, "-p", "no:cacheprovider"],
            cwd=ROOT, env={**os.environ, **dict.fromkeys(GIVEN, "")}, capture_output=True, text=True, timeout=500,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6_000:]
        held = [node.info("stats")["total_commands_processed"] for node in running.nodes]
        assert min(held) > 1_000, held
        assert not running.refused(), running.refused()
