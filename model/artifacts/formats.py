"""The kinds of verified folders: models, indexes, checkpoints and online models. This module does not import torch."""

from __future__ import annotations

from model.artifacts.verified_folder import ArtifactCorrupt, ArtifactFormat


class ModelCorrupt(ArtifactCorrupt):
    """A model folder is damaged, incomplete or inconsistent."""


class IndexCorrupt(ArtifactCorrupt):
    """An index folder is damaged, incomplete or inconsistent."""


class CheckpointCorrupt(ArtifactCorrupt):
    """A checkpoint is damaged, incomplete or from another training run."""


class OnlineModelCorrupt(ArtifactCorrupt):
    """The folder of an online model is damaged, incomplete or inconsistent."""


class VersionMismatch(ValueError):
    """An index or embeddings do not belong to the expected model version."""


MODEL = ArtifactFormat(
    "model.json",
    {"model_version": str, "spec": dict, "inputs": dict, "configuration": dict, "metrics": dict},
    ModelCorrupt,
    max_manifest_bytes=1 << 24,
)
INDEX = ArtifactFormat(
    "index.json",
    {"backend": str, "metric": str, "dimension": int, "item_count": int, "model_version": str, "options": dict},
    IndexCorrupt,
)
ONLINE_MODEL = ArtifactFormat(
    "manifest.json",
    {
        "publication": int, "ds": str, "model_version": str, "candidates_version": int, "forgotten_users": int,
        "torch": str, "inputs": list, "history": str, "vocabularies": dict, "padding": int, "unknown": int,
        "interests": int, "dimension": int, "items": int,
    },
    OnlineModelCorrupt,
    max_manifest_bytes=1 << 20,
)  # fmt: skip
CHECKPOINT = ArtifactFormat(
    "state.json",
    {"identity": str, "state": dict},
    CheckpointCorrupt,
    max_manifest_bytes=1 << 26,
    allow_nan=True,
)
