"""The error of a wrong configuration names the key, what it must be and what was got, and contains no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.config.loading import load_config


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\ntemprature = 0.1\n", "training.temprature: no such key; did you mean training.temperature"),
        ("[trainng]\n", "trainng: no such key; did you mean training[?]"),
        ("[scoring]\ncutoffs = [1]\n", "scoring.cutoffs: no such key; did you mean evaluation.cutoffs[?]"),
        (
            "[mapping.impresions]\nuser_id = 'uid'\n",
            "mapping.impresions: no such key; did you mean mapping.impressions[?]",
        ),
        ("[features]\nusers = []\n", "features.users: no such key; did you mean features.user[?]"),
        (
            "[[features.item]]\nname = 'year'\nkind = 'numric'\ndim = 1\n",
            "kind must be one of .*, got 'numric'; did you mean numeric[?]$",
        ),
        (
            "[[features.item]]\nname = 'year'\nkind = 'numeric'\ndim = 1\nlenght = 1\n",
            "features.item.0.lenght: no such key; did you mean length[?]",
        ),
        (
            "[negatives.custom.x]\nsource = 'a:B'\ndraw = 1\n",
            "negatives.custom.x.draw: no such key; did you mean draws[?]",
        ),
        ("[training]\npreset = 'mnss'\n", "training.preset: .*got 'mnss'; did you mean mns[?]"),
        ("[zzz]\n", "zzz: no such key$"),
        ("[training]\ntemperature = 0\n", "training.temperature: .*greater than 0, got 0"),
        ("[training]\ntemperature = nan\n", "training.temperature: .*finite number"),
        ("[training]\npreset = 'best'\n", "training.preset: .*got 'best'"),
        ("[pool]\ncorpus_alpha = 1.5\n", "pool.corpus_alpha: .*less than or equal to 1, got 1.5"),
        (
            "[index]\nbackend = 'annoy'\nbuild_backends = ['exact']\n",
            r"index.backend must be auto or one of index.build_backends \['exact'\], got annoy",
        ),
        (
            "[index]\nbuild_backends = ['exact', 'hnsw']\n",
            r"build_backends.1: .*index.backend must be one of \['annoy', 'exact', 'ivf'\] or .*, got 'hnsw'",
        ),
        ("[index.options]\nhnsw = {}\n", r"index.options.hnsw.*: .*must be one of \['annoy', 'exact', 'ivf'\] or"),
        ("[model]\nuser_encoder = 'atention'\n", "model.user_encoder: .*, got 'atention'; did you mean attention[?]"),
        (
            "[evaluation]\ncutoffs = [10, 500]\n",
            r"evaluation.cutoffs must be at most scoring.candidates_per_user \(100\), got \[10, 500\]",
        ),
        ("[evaluation]\ncutoffs = [20, 10]\n", "evaluation.cutoffs: .*ascending"),
        (
            "[evaluation]\nheld_out_cutoffs = [10, 30]\n",
            r"held_out_cutoffs must be two of evaluation.cutoffs \[10, 20, 50, 100\], got \[10, 30\]",
        ),
        ("[evaluation]\nheld_out_cutoffs = [50, 10]\n", r"two list lengths, the shorter one first, .*got \[50, 10\]"),
        ("[evaluation]\nheld_out_cutoffs = [10]\n", r"evaluation.held_out_cutoffs: .*two list lengths, .*got \[10\]"),
        (
            "[tuning]\nmetric = 'recall@20'\n",
            r"tuning.metric must be one of \['recall@10', 'recall@100', 'ndcg', 'mrr'\], .*got 'recall@20'",
        ),
        (
            "[reconciliation]\ncompared_days = 4\n",
            r"min_compared_days must be at most reconciliation.compared_days \(4\), got 5",
        ),
        (
            "[[features.user]]\nname = 'age; drop'\nkind = 'numeric'\ndim = 1\n",
            "features.user.0: .*name must match .*, got 'age; drop'",
        ),
        (
            "[[features.user]]\nname = 'user_index'\nkind = 'numeric'\ndim = 1\n",
            "must not have a feature named like the column user_index",
        ),
        (
            "[[features.user]]\nname = 'history'\nkind = 'numeric'\ndim = 1\n",
            "history must be a user feature of kind item_list, got kind numeric",
        ),
        (
            "[[features.item]]\nname = 'history'\nkind = 'item_list'\ndim = 8\nlength = 5\n",
            "history must be a user feature of kind item_list, got an item feature",
        ),
        (
            "[[features.user]]\nname = 'age'\nkind = 'numeric'\ndim = 1\nlength = 3\n",
            "feature age of kind numeric: length must be 1, got 3",
        ),
        (
            "[[features.user]]\nname = 'user_id'\nkind = 'hashed_id'\ndim = 8\n",
            "buckets of feature user_id must be at least 16 and hashes from 1 to 8, got 0 and 1",
        ),
        (
            "[[features.user]]\nname = 'user_id'\nkind = 'hashed_id'\ndim = 8\nbuckets = 99\nhashes = 9\n",
            "hashes from 1 to 8, got 99 and 9",
        ),
        (
            "[[features.user]]\nname = 'user_id'\nkind = 'id'\ndim = 8\nbuckets = 99\n",
            "buckets of feature user_id require kind hashed_id, got kind id",
        ),
        (
            "[[features.item]]\nname = 'item_id'\nkind = 'hashed_id'\ndim = 8\nbuckets = 99\n",
            "a feature of kind hashed_id must be one of features.user, got",
        ),
        (
            "[[features.user]]\nname = 'viewed'\nkind = 'item_list'\ndim = 8\nlength = 5\ngaps = true\n",
            "gaps must be false of all features but history, got true of viewed",
        ),
        (
            "[[features.user]]\nname = 'since'\nkind = 'click_gaps'\ndim = 8\nlength = 5\n",
            "gaps are no feature of their own: set gaps = true of history, got since",
        ),
        (
            "[examples]\nunclicked_per_example = -1\n",
            "examples.unclicked_per_example: .*greater than or equal to 0, got -1",
        ),
        ("[training]\nstreaming_rate = 1.0\n", "training.streaming_rate: .*less than 1, got 1.0"),
        ("[training]\nstreaming_rate = 0\n", "training.streaming_rate: .*greater than 0, got 0"),
        ("[negatives]\nbank_warmup_drift = 3.0\n", "negatives.bank_warmup_drift: .*less than or equal to 2"),
        ("[negatives]\nmask = 'all'\n", "negatives.mask: .*'item', 'user' or 'history', got 'all'"),
        (
            "[negatives]\nmask = 'history'\n[[features.user]]\nname = 'user_id'\nkind = 'id'\ndim = 8\n",
            'negatives.mask = "history" requires the user feature named history',
        ),
        ("[negatives]\nrow = 11\n", r"negatives.row must be at most examples.unclicked_per_example \(10\), got 11"),
        (
            "[[features.item]]\nname = 'item_id'\nkind = 'id'\ndim = 8\n",
            r"share_item_table: dim must be that of item_id \(8\), got \{'history': 64\}",
        ),
        (
            "[training]\nlearn_temperature = true\ntemperature = 0.001\n",
            r"temperature must be at least 0\.01 where training.learn_temperature is true, got 0\.001",
        ),
        (
            "[variants.x]\nexamples = { unclicked_per_example = 5 }\n",
            r"variants.x must not override \['examples'\]: all models share",
        ),
        ("[variants.x]\ntraining = { corection = 'none' }\n", "variants.x: training.corection: no such key; did you"),
        ("[log]\nmax_impressions_per_user = true\n", "log.max_impressions_per_user: must be a number, got True$"),
        ("[training]\nbatch_size = '128'\n", "training.batch_size: must be a number, got '128'$"),
        ("[evaluation]\nsample_share = true\n", "evaluation.sample_share: must be a number, got True$"),
        (
            "[evaluation]\nsample_share = 1e-9\n",
            "evaluation.sample_share: .*greater than or equal to 0.000001, got 1e-09",
        ),
        (
            "[evaluation]\nhead_click_share = 0.9\nmiddle_click_share = 0.9\n",
            r"head_click_share \+ evaluation.middle_click_share must be at most 1, got 0.9 \+ 0.9$",
        ),
        (
            "[log]\nexamples_window_days = 1000000\n",
            "log.examples_window_days: .*less than or equal to 36500, got 1000000",
        ),
        ("[retention.tables]\ncandidates = 1000000\n", "retention.tables.candidates: .*less than or equal to 36500"),
        (
            "[exclusions]\nclicked = 0\n",
            '^[^;]*exclusions.clicked: .*"never" or a number of days from 1 to 36500, got 0$',
        ),
        ("[exclusions]\nclicked = true\n", "^[^;]*exclusions.clicked: .* from 1 to 36500, got True$"),
        (
            "[[features.user]]\nname = 'user_id'\nkind = 'id'\ndim = 8\nhashes = 4\n",
            "hashes of feature user_id require kind hashed_id, got kind id",
        ),
        ("[training\n", "cannot be read"),
    ],
)
def test_an_error_names_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[evaluation]\ncutoffs = [10, 500]\n",
            r"toml: evaluation.cutoffs must be at most [^{]*$",
        ),
        ("[tracking]\nuri = ['http://me:Tr0ub4dor@mlflow']\n", "tracking.uri: Input should be a valid string$"),
        ("[export]\ntarget = ['redis://me:Tr0ub4dor@host']\n", "export.target: Input should be a valid string$"),
        ("[variants]\ntracking = 'http://me:Tr0ub4dor@mlflow'\n", "variants.tracking: [^']*$"),
        (
            "[variants.x.tracking]\nuri = 'http://me:Tr0ub4dor@mlflow'\nuser = 'me'\n",
            "tracking.user: no such key; did you mean tracking.uri.$",
        ),
    ],
)
def test_an_error_contains_no_secret(tmp_path: Path, text: str, message: str) -> None:
    if "Tr0ub4dor" not in text:
        text += "[tracking]\nuri = 'http://me:Tr0ub4dor@mlflow'\n"
    with pytest.raises(ValueError, match=message) as error:
        load_config(written(tmp_path, text))
    assert "Tr0ub4dor" not in str(error.value)
