"""The fakes of this folder, and a way to run a test's coroutine in a world."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from controller_world import world


@pytest.fixture
def in_world(tmp_path):
    """Run ``async def test(world)`` against real API, real controllers, fake kernel."""

    def run(play, **options):
        async def main():
            async with asyncio.timeout(60), world(tmp_path, **options) as made:
                return await play(made)

        return asyncio.run(main())

    return run
