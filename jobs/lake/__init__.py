"""The lake of Delta tables: columns, reading and writing days, checks, queries, files, errors, the Spark session."""
