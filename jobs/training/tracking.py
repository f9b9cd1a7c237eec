"""What MLflow is told: a run for each training, and which model version is published.

The lake is what counts: a record that cannot be made is a warning, and neither a model nor a publication fails for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jobs.config.loading import Config
from jobs.inference.references import model_path
from jobs.lake.files import local_path
from jobs.lake.lake import Lake

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

NAME = "batch-recall"
ALIAS = "published"
VERSION_TAG = "model_version"
# a server that does not answer holds a day up for seconds, not for minutes
LIMITS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "GIT_PYTHON_REFRESH": "quiet"}
LOGGED = ("final_loss", "training_rows", "steps", "seconds", "rows_per_second", "waiting_share", "temperature")


def tracking_uri(lake: Lake, config: Config) -> str | None:
    """The configured server, or a file beside the tables; None where nothing is tracked."""
    if config.tracking.uri == "none":
        return None
    if config.tracking.uri != "local":
        return config.tracking.uri
    folder = local_path(lake.spark, lake.uri)
    return None if folder is None else f"sqlite:///{folder.absolute()}/mlflow.db"


def record_training(lake: Lake, config: Config, manifest: Mapping[str, Any]) -> None:
    """Add a run with settings, metrics and curves of a model version, and register the version."""
    with _client(lake, config) as client:
        if client is None:
            return
        version, metrics, inputs = manifest["model_version"], manifest["metrics"], manifest["inputs"]
        name = registered_name(lake)
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else client.create_experiment(name)
        tags = {
            VERSION_TAG: version,
            "ds": inputs["ds"],
            **{f"input.{k}": str(v) for k, v in inputs["versions"].items()},
        }
        run_id = client.create_run(experiment, run_name=version, tags=tags).info.run_id
        for section in ("training", "negatives", "model"):
            for key, value in manifest["configuration"][section].items():
                client.log_param(run_id, f"{section}.{key}", value)
        for key in LOGGED:
            client.log_metric(run_id, key, float(metrics[key]))
        for step, loss in metrics["loss_curve"]:
            client.log_metric(run_id, "loss", loss, step=int(step))
        for epoch, found in enumerate(metrics["validations"], start=1):
            for key, value in found.items():
                client.log_metric(run_id, f"validation.{key.replace('@', '_at_')}", value, step=epoch)
        client.set_terminated(run_id)
        _register(client, name, version, model_path(lake, version), run_id)


def record_publication(lake: Lake, config: Config, version: str) -> None:
    """Move the alias `published` to a model version."""
    with _client(lake, config) as client:
        if client is None:
            return
        name = registered_name(lake)
        found = client.search_model_versions(f"name = '{name}' and tag.{VERSION_TAG} = '{version}'")
        number = found[0].version if found else _register(client, name, version, model_path(lake, version), None)
        client.set_registered_model_alias(name, ALIAS, number)


def registered_name(lake: Lake) -> str:
    return NAME if lake.variant is None else f"{NAME}-{lake.variant}"


def _register(client: MlflowClient, name: str, version: str, source: str, run_id: str | None) -> str:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return str(client.create_model_version(name, source, run_id, tags={VERSION_TAG: version}).version)


@contextmanager
def _client(lake: Lake, config: Config) -> Iterator[MlflowClient | None]:
    """A client, or None; what fails inside the block is printed."""
    uri = tracking_uri(lake, config)
    if uri is None:
        yield None
        return
    for key, value in LIMITS.items():
        os.environ.setdefault(key, value)
    try:
        from mlflow.tracking import MlflowClient  # slow to import, and not everyone tracks

        yield MlflowClient(tracking_uri=uri, registry_uri=uri)
    except Exception as error:
        text = "".join(str(error).splitlines()[:1]).replace(uri, _without_secrets(uri))
        print(f"warning: MLflow at {_without_secrets(uri)} was not told: {type(error).__name__}: {text}", flush=True)


def _without_secrets(uri: str) -> str:
    """A server's address may name a user and a password before an @."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
