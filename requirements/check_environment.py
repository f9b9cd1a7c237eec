"""The last step of the set-up: all libraries must load together, and annoy, compiled here, must find neighbours."""

import importlib

LIBRARIES = [
    *(
        "pyarrow",
        "pyarrow.parquet",
        "numpy",
        "pandas",
        "pyspark.sql",
        "delta",
        "deltalake",
        "petastorm.reader",
    ),
    *(
        "duckdb",
        "faiss",
        "mlflow.tracking",
        "sqlalchemy",
        "polars",
        "pydantic",
        "redis",
        "rich",
        "safetensors.torch",
        "torch",
        "annoy",
    ),
]


def annoy_recall(items: int = 2_000, dim: int = 32, queries: int = 50, k: int = 10) -> float:
    import annoy
    import numpy as np

    vectors = np.random.default_rng(1).normal(size=(items, dim)).astype(np.float32)  # [I, D]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = annoy.AnnoyIndex(dim, "angular")
    index.set_seed(1)
    for item, vector in enumerate(vectors):
        index.add_item(item, vector)
    index.build(20, n_jobs=1)
    exact = np.argsort(-(vectors[:queries] @ vectors.T), axis=1)[:, :k]  # [Q, K]
    found = [index.get_nns_by_vector(vector, k, search_k=items) for vector in vectors[:queries]]
    return float(np.mean([len(set(f) & set(e)) / k for f, e in zip(found, exact.tolist(), strict=True)]))


def main() -> None:
    for library in LIBRARIES:  # pyarrow before torch
        importlib.import_module(library)
    recall = annoy_recall()
    if recall < 0.9:
        raise SystemExit(f"annoy must find at least 0.9 of the exact neighbours, got {recall:.3f}")
    print(f"all libraries load; annoy finds {recall:.3f} of the exact neighbours")


if __name__ == "__main__":
    main()
