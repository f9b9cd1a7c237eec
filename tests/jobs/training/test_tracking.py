"""What is recorded in MLflow about trainings and publications."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.config.loading import Config, load_config
from jobs.config.sections import Tracking
from jobs.lake.lake import Lake
from jobs.training.tracking import ALIAS, NAME, record_publication, record_training, tracking_uri

METRICS = {
    "final_loss": 2.5, "training_rows": 100, "steps": 20, "seconds": 3.0, "rows_per_second": 33.3, "waiting_share": 0.01,
    "temperature": 0.2, "loss_curve": [[1, 5.0], [20, 2.5]], "validations": [{"recall@100": 0.3, "rows": 7.0}, {"recall@100": 0.4, "rows": 7.0}],
}  # fmt: skip


def config_with(uri: str) -> Config:
    return load_config().model_copy(update={"tracking": Tracking(uri=uri)})


def manifest(version: str) -> dict[str, Any]:
    configuration = load_config().model_dump(mode="json")
    inputs = {"ds": "2026-03-01", "versions": {"training_examples": 3}}
    return {"model_version": version, "metrics": METRICS, "inputs": inputs, "configuration": configuration}


@pytest.fixture(scope="module")
def tracked(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Any]:
    """A lake whose MLflow knows two trainings, and a client of it."""
    from mlflow.tracking import MlflowClient

    lake, config = Lake(spark, str(tmp_path_factory.mktemp("tracked"))), config_with("local")
    for version in ("first", "second"):
        record_training(lake, config, manifest(version))
    uri = tracking_uri(lake, config)
    return lake, MlflowClient(tracking_uri=uri, registry_uri=uri)


def test_a_training_is_a_run_with_settings_metrics_and_curves(tracked: tuple[Lake, Any]) -> None:
    _, client = tracked
    experiment = client.get_experiment_by_name(NAME)
    runs = client.search_runs([experiment.experiment_id], "tags.model_version = 'second'")
    (run,) = runs
    assert run.info.status == "FINISHED"
    assert run.data.params["training.preset"] == "in_batch"
    assert run.data.metrics["final_loss"] == 2.5
    assert run.data.tags["input.training_examples"] == "3"
    curve = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in curve] == [(1, 5.0), (20, 2.5)]
    assert [p.value for p in client.get_metric_history(run.info.run_id, "validation.recall_at_100")] == [0.3, 0.4]


def test_the_alias_follows_what_is_published(tracked: tuple[Lake, Any]) -> None:
    lake, client = tracked
    for version in ("first", "second", "first"):
        record_publication(lake, config_with("local"), version)
        assert client.get_model_version_by_alias(NAME, ALIAS).tags["model_version"] == version
    assert client.get_model_version_by_alias(NAME, ALIAS).source.endswith("/models/first")
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 2


def test_nothing_is_tracked_if_tracking_is_disabled(lake: Lake) -> None:
    assert tracking_uri(lake, config_with("none")) is None
    record_training(lake, config_with("none"), manifest("first"))


INFO = {"run_id": "r", "experiment_id": "1", "status": "RUNNING", "artifact_uri": "x", "lifecycle_stage": "active"}
ANSWER = {
    "run": {"info": INFO, "data": {}}, "run_info": INFO, "experiment_id": "1",
    "experiment": {"experiment_id": "1", "name": NAME, "artifact_location": "x", "lifecycle_stage": "active"},
    "model_version": {"name": NAME, "version": "1", "status": "READY"}, "registered_model": {"name": NAME},
}  # fmt: skip


class Server(BaseHTTPRequestHandler):
    """A tracking server that has one run, experiment and version, whatever is asked for."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        text = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_PATCH = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


def test_a_server_with_a_password_prints_no_link(
    lake: Lake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        record_training(lake, config_with(f"http://me:hunter2@127.0.0.1:{server.server_port}"), manifest("first"))
    finally:
        server.shutdown()
        server.server_close()
    assert capsys.readouterr().out == ""
    assert [path for path in server.asked if path.endswith("/model-versions/create")]  # type: ignore[attr-defined]


def test_an_unresponsive_server_is_a_warning_within_seconds_that_names_no_secret(
    lake: Lake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    began = time.monotonic()
    record_training(lake, config_with("http://me:hunter2@127.0.0.1:9"), manifest("first"))
    assert time.monotonic() - began < 30
    text = capsys.readouterr().out
    assert "warning: MLflow at http://127.0.0.1:9 was not updated" in text
    assert "hunter2" not in text
