# syntax=docker/dockerfile:1
# An image that runs every job, and is Spark's driver and executor on Kubernetes: docs/deploy.md.
#
#     docker build --tag batch-recall:1 .
#     docker run --rm --volume recall:/lake batch-recall:1 run-day --lake /lake --ds 2026-01-31
#
# For builds that can be repeated, name the base by digest: --build-arg BASE=python@sha256:...
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Java runs Spark, procps has the ps that Spark's scripts call, and tini forwards signals and reaps workers.
# Versions are those of the distribution's release, with its security updates.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless procps tini \
    && rm -rf /var/lib/apt/lists/*

# Python packages with their hashes, and Delta's JARs with their checksums. Changes only with requirements/.
FROM base AS packages
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/batch-recall
COPY requirements requirements
RUN bash requirements/set_up.sh --run-time && rm .venv/set_up.log

# The project as a wheel.
FROM packages AS project
COPY MANIFEST.in pyproject.toml recall.toml setup.py ./
COPY batch_recall batch_recall
COPY dags dags
COPY jobs jobs
COPY model model
COPY sql sql
RUN .venv/bin/uv build --wheel --no-cache --out-dir /wheel \
    --build-constraints requirements/build.txt --require-hashes --python .venv/bin/python

FROM base
ENV PATH=/opt/batch-recall/.venv/bin:$PATH \
    SPARK_HOME=/opt/batch-recall/.venv/lib/python3.11/site-packages/pyspark \
    PYSPARK_PYTHON=/opt/batch-recall/.venv/bin/python \
    PYSPARK_DRIVER_PYTHON=/opt/batch-recall/.venv/bin/python \
    PYTHONPATH=/opt/batch-recall/code \
    PYTHONUNBUFFERED=1
COPY --from=packages /opt/batch-recall/.venv /opt/batch-recall/.venv
# /opt/batch-recall/code has jobs/, for spark-submit: local:///opt/batch-recall/code/jobs/run_day.py
RUN --mount=type=bind,from=project,source=/wheel,target=/wheel \
    uv pip install --no-cache --offline --no-deps --python "$PYSPARK_PYTHON" /wheel/*.whl \
    && ln --symbolic "$SPARK_HOME/../batch_recall" /opt/batch-recall/code \
    && useradd --uid 10001 --gid 0 --create-home recall
# A number, so that Kubernetes can check that it is not root.
USER 10001
WORKDIR /home/recall
ENTRYPOINT ["/usr/bin/tini", "-s", "--", "batch-recall"]
CMD ["--help"]
