"""Records in MLflow: a run for each training, and an alias on the published model version.

The lake is the source of truth: if a record fails, a warning is printed, and training or publication goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jobs.config.loading import Config
from jobs.inference.references import model_path
from jobs.lake.lake import Lake
from jobs.lake.snapshots import local_path
from model.training.processes.lines import warn

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

NAME = "batch-recall"
ALIAS = "published"
VERSION_TAG = "model_version"
# An unresponsive server delays a day by seconds, not by minutes. MLflow's links to runs are not printed: they have the
# user and the password of the address, and no form of lines.
VARIABLES = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}  # fmt: skip
MOST_TRIALS = 50_000  # child runs of a search that are looked for; MLflow's limit
LOGGED = ("final_loss", "training_rows", "steps", "seconds", "rows_per_second", "waiting_share", "temperature")


def tracking_uri(lake: Lake, config: Config) -> str | None:
    """The configured server, or a database file in the lake; None without tracking, or for a remote lake."""
    if config.tracking.uri == "none":
        return None
    if config.tracking.uri != "local":
        return config.tracking.uri
    folder = local_path(lake.uri)
    return None if folder is None else f"sqlite:///{folder.absolute()}/mlflow.db"


def record_training(lake: Lake, config: Config, manifest: Mapping[str, Any]) -> None:
    """Record a run with the settings, metrics and curves of a model version, and register the version."""
    with _client(lake, config) as client:
        if client is None:
            return
        version, metrics, inputs = manifest["model_version"], manifest["metrics"], manifest["inputs"]
        name = registered_name(lake)
        experiment = _experiment(client, name)
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
        for epoch, validation in enumerate(metrics["validations"], start=1):
            for key, value in validation.items():
                client.log_metric(run_id, f"validation.{key.replace('@', '_at_')}", value, step=epoch)
        for part in ("before", "after"):
            for key, value in (metrics.get("last_pass") or {}).get(part, {}).items():
                client.log_metric(run_id, f"{part}_last_pass.{key.replace('@', '_at_')}", value)
        client.set_terminated(run_id)
        _register(client, name, version, model_path(lake, version), run_id)


def record_search(lake: Lake, config: Config, name: str, trials: Sequence[Mapping[str, Any]]) -> None:
    """Record a search as a run, and each of its trials as a child run, once.

    name: the same for the same search. trials: `number`, `state`, `settings` and `values`, the metric by epoch.
    """
    with _client(lake, config) as client:
        if client is None:
            return
        experiment = _experiment(client, f"{registered_name(lake)}-tuning")
        found = client.search_runs([experiment], f"tags.search = '{name}' and tags.trial = 'none'")
        parent = (
            found[0] if found else client.create_run(experiment, run_name=name, tags={"search": name, "trial": "none"})
        )
        children = client.search_runs([experiment], f"tags.search = '{name}'", max_results=MOST_TRIALS)
        known = {run.data.tags["trial"] for run in children}
        for trial in trials:
            if str(trial["number"]) in known:
                continue
            tags = {"search": name, "trial": str(trial["number"]), "mlflow.parentRunId": parent.info.run_id}
            run_id = client.create_run(experiment, run_name=f"trial {trial['number']}", tags=tags).info.run_id
            for key, value in trial["settings"].items():
                client.log_param(run_id, key, value)
            for epoch, value in enumerate(trial["values"], start=1):
                client.log_metric(run_id, config.tuning.metric.replace("@", "_at_"), value, step=epoch)
            client.set_terminated(run_id, "FAILED" if trial["state"] == "FAIL" else "FINISHED")
        client.set_terminated(parent.info.run_id)


def record_publication(lake: Lake, config: Config, version: str) -> None:
    """Move the alias `published` to a model version."""
    with _client(lake, config) as client:
        if client is None:
            return
        name = registered_name(lake)
        registered = client.search_model_versions(f"name = '{name}' and tag.{VERSION_TAG} = '{version}'")
        number = (
            registered[0].version if registered else _register(client, name, version, model_path(lake, version), None)
        )
        client.set_registered_model_alias(name, ALIAS, number)


def registered_name(lake: Lake) -> str:
    return NAME if lake.variant is None else f"{NAME}-{lake.variant}"


def _experiment(client: MlflowClient, name: str) -> str:
    """The id of an experiment, which is created if there is none of this name."""
    existing = client.get_experiment_by_name(name)
    return str(existing.experiment_id if existing else client.create_experiment(name))


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
    """A client, or None if nothing is tracked. An error inside the block is printed as a warning."""
    uri = tracking_uri(lake, config)
    if uri is None:
        yield None
        return
    for key, value in VARIABLES.items():
        os.environ.setdefault(key, value)
    client = None
    try:
        from mlflow.tracking import MlflowClient  # slow to import, and optional

        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        yield client
    except Exception as error:
        text = "".join(str(error).splitlines()[:1]).replace(uri, _without_secrets(uri))
        warn(f"MLflow at {_without_secrets(uri)} was not updated: {type(error).__name__}: {text}")
        if client is None:
            yield None


def _without_secrets(uri: str) -> str:
    """The address without the user and the password, which may come before an @."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
