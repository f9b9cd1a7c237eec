"""Which configurations can have several interests a user."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.config.loading import load_config
from model.features.user_encoders import ONE_VECTOR, USER_ENCODERS


def test_the_encoders_that_make_one_vector_are_refused_for_several_interests(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    for name in ONE_VECTOR:
        file.write_text(f'[model]\nuser_encoder = "{name}"\ninterests = 2\n')
        with pytest.raises(ValueError, match=rf'model\.user_encoder must make several vectors .* got "{name}", which'):
            load_config(file)
    file.write_text("[variants.several.model]\ninterests = 2\n")
    with pytest.raises(ValueError, match=r'variants\.several: .*must make several vectors .* got "recency"'):
        load_config(file)
    assert {name for name in USER_ENCODERS.built_in if not USER_ENCODERS.get(name).makes_interests} == set(ONE_VECTOR)


def test_interests_are_at_least_one_and_need_a_list_of_items(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    assert load_config().model.interests == 1
    file.write_text("[model]\ninterests = 0\n")
    with pytest.raises(ValueError, match=r"model\.interests: .*greater than or equal to 1, got 0"):
        load_config(file)
    own = '[model]\nuser_encoder = "attention"\ninterests = 2\n'
    file.write_text(own + '[[features.user]]\nname = "user_id"\nkind = "id"\ndim = 64\n')
    with pytest.raises(
        ValueError, match=r"model\.interests above 1 requires a user feature of kind item_list, got none"
    ):
        load_config(file)
    file.write_text('[model]\nuser_encoder = "mypackage.encoders:Mine"\ninterests = 2\n')
    assert load_config(file).model.interests == 2  # the trainer, which imports it, says whether it makes them
