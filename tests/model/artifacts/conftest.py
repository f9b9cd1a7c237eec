"""A model folder that a test may damage or replace."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.artifacts.model_version import save_model
from tests.model.artifacts.small_models import towers, version


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A valid model folder of version `v1`."""
    save_model(tmp_path / "model", towers(), version("v1"))
    return tmp_path / "model"
