"""The file layout of the table candidates, chosen so that a look-up of a user reads little.

Rows are sorted by user_id, each file has a range of users (`jobs.lake.file_layout.sorted_files`), and each of its row
groups has USERS_PER_ROW_GROUP of them. A look-up therefore opens one file and reads one row group
(`jobs.serving.lookup`). `jobs.score_users` writes this layout, and `jobs.forget_users` preserves it.
"""

USERS_PER_ROW_GROUP = 1_000
