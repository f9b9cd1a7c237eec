#!/usr/bin/env bash
# Fills .s3, for `make test-s3`: a local S3 server in a separate environment, and the JARs that Spark needs for s3a://.
# `make` calls it when a file that it reads is newer than .s3/.set_up. Every step can be repeated.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

HADOOP_AWS=org.apache.hadoop:hadoop-aws:3.4.1  # the version of the Hadoop in pyspark
LOG=.s3/set_up.log
PYTHON_HERE=$PWD/.venv/bin/python
CACHE=$PWD/.s3/cache

. requirements/steps.sh

alone .s3
say "filling .s3: about 570 MB to download, 620 MB on disk ($LOG shows all)"
fill_environment .s3 s3.txt
say "fetching Hadoop's S3 connector, with the AWS SDK"
fetch_jars "the S3 connector" $HADOOP_AWS s3_jars.txt "$PWD/.s3/jars"
rm -rf "$CACHE"
touch .s3/.set_up
say "the S3 server is ready after $SECONDS s"
