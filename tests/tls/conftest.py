"""The files of a certificate, for the tests of TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from certificates import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)
