"""Packages of others that pages are about: their environment is the site's (``make docs``, and CI's stage of it)."""

from __future__ import annotations

import importlib.util
import os

import pytest


def require_package(name: str) -> None:
    """Skip without it; in the site's environment, fail."""
    if importlib.util.find_spec(name) is None:
        reason = f"the package of {name} is not installed: python -m pip install --group docs"
        (pytest.fail if os.environ.get("FOURTUPLE_SITE") else pytest.skip)(reason)
