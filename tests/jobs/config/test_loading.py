from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs.config.features import logged_features
from jobs.config.loading import SHARED_SECTIONS, load_config
from jobs.config.renamed_keys import RENAMED_KEYS


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_defaults_fit_any_log_and_the_packed_overlay_declares_movielens_features() -> None:
    assert [len(logged_features(side)) for side in (load_config().features.user, load_config().features.item)] == [0, 0]
    declared = load_config("movielens").features
    assert [feature.name for feature in (*logged_features(declared.user), *logged_features(declared.item))] == [
        "age", "gender", "occupation", "year", "genres",
    ]  # fmt: skip


def test_the_default_is_valid_and_documents_every_key() -> None:
    config = load_config()
    assert config.features.history_length == 50
    for line in (Path(__file__).resolve().parents[3] / "recall.toml").read_text("utf-8").splitlines():
        # documented once above their list
        sections = ("name", "kind", "dim", "length", "training = {", "index = {", '"')
        if "=" in line and not line.startswith(("#", *sections)):
            assert "#" in line, f"no comment on {line}"


def test_a_file_overrides_the_default(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "[training]\ntemperature = 0.07\n"))
    assert (config.training.temperature, config.training.batch_size) == (0.07, load_config().training.batch_size)


def test_a_variant_overrides_and_an_unknown_one_is_refused() -> None:
    config = load_config()
    assert (config.training.correction, config.with_variant("uncorrected").training.correction) == ("preset", "none")
    with pytest.raises(ValueError, match=r"variant must be one of \['uncorrected'\], got 'other'"):
        config.with_variant("other")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", (10, 100)),
        ("cutoffs = [5, 20, 40]", (5, 40)),
        ("cutoffs = [7]", (7, 7)),
        ("held_out_cutoffs = [20, 50]", (20, 50)),
    ],
)
def test_recall_is_measured_at_the_first_and_the_last_cutoff_unless_others_are_named(
    tmp_path: Path, text: str, found: tuple[int, int]
) -> None:
    overlay = f"[evaluation]\n{text}\n[tuning]\nmetric = 'recall@{found[0]}'\n"
    assert load_config(written(tmp_path, overlay)).held_out_cutoffs == found


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.toml cannot be read"):
        load_config(tmp_path / "none.toml")


@pytest.mark.parametrize(("old", "new"), RENAMED_KEYS.items())
def test_the_error_of_a_renamed_key_names_the_new_key(tmp_path: Path, old: str, new: str) -> None:
    section, key = old.split(".")
    new_section, new_key = new.split(".")
    values = load_config().model_dump()
    assert key not in values[section]
    assert new_key in values[new_section]
    with pytest.raises(ValueError, match=rf": {re.escape(old)}: renamed to {re.escape(new)}$"):
        load_config(written(tmp_path, f"[{section}]\n{key} = 1\n"))
    with pytest.raises(
        ValueError, match=re.escape(f"{old}: renamed to {new}") if section not in SHARED_SECTIONS else "share"
    ):
        load_config(written(tmp_path, f"[variants.x]\n{section} = {{ {key} = 1 }}\n"))


def test_an_index_from_outside_the_package_is_named_without_importing_it(tmp_path: Path) -> None:
    text = "[index]\nbackend = 'no.such:Index'\nbuild_backends = ['no.such:Index']\noptions = {'no.such:Index' = {bits = 8}}\n"
    index = load_config(written(tmp_path, text)).index
    assert (index.backend, index.build_backends) == ("no.such:Index", ("no.such:Index",))
    assert index.options == {"no.such:Index": {"bits": 8}}
