"""What the configuration of neighbours must be, and when they are built."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.config.loading import load_config


def test_a_click_is_paired_whole_and_a_quota_needs_a_history_and_builds_the_tables(tmp_path: Path) -> None:
    few = tmp_path / "few.toml"
    few.write_text("[neighbours]\nspan = 20\nmax_pairs_per_user = 19\n")
    with pytest.raises(ValueError, match=r"max_pairs_per_user must be at least neighbours\.span \(20\), got 19"):
        load_config(few)
    few.write_text('[scoring]\nneighbour_quota = 1\n[[features.user]]\nname = "user_id"\nkind = "id"\ndim = 64\n')
    with pytest.raises(ValueError, match=r"neighbour_quota above 0 requires the user feature named history"):
        load_config(few)
    few.write_text("[variants.near.scoring]\nneighbour_quota = 5\n")
    assert load_config(few).reads_neighbours
    assert not load_config().reads_neighbours
