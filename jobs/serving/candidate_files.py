"""The file layout of the table candidates, chosen so that a look-up of a user reads little.

Rows are sorted by user_id, each file holds a range of users (`jobs.lake.file_layout.sorted_files`), and each of its row
groups holds USERS_PER_ROW_GROUP of them: a look-up opens one file and reads one row group (`jobs.serving.lookup`).
"""

USERS_PER_ROW_GROUP = 1_000
