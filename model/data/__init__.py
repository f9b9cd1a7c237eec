"""From pinned Parquet files to batches of tensors. Petastorm is imported only here."""
