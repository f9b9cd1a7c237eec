"""From pinned Parquet files to batches of tensors. Petastorm is imported only in `model.data.loaders`."""
