"""The jobs, in the order in which a day runs them (`run_day` runs all of them, `run_demo` several days;
each also runs alone):

ingest_logs | ingest_movielens | simulate_log    write a log into the raw tables
await_log                 whether the day's log has landed
build_interactions        each impression with its outcome
rebuild_days              earlier days again whose outcomes late clicks change
build_reconciliation      what became of every row of the log
build_vocabularies        dense indices of new ids and values
build_snapshots           items and users as known at the end of the day
build_training_examples   clicks, with the features as of the impression
build_histories           what each user has clicked up to the end of the day
build_item_counts         impressions, exposures and clicks of each item on the day
build_window_counts       the same over all days of the training window
build_negative_pools      items that were exposed but never clicked
build_sampling_probs      how often each source of negatives draws each item
build_popular_items       the most clicked items in each segment of users
train_two_tower           a model version
build_user_embeddings     every user's vector
build_item_index          item embeddings, and measured indexes over the available items
score_users               K candidates for every user
evaluate_candidates       metrics of the candidates on later clicks
gate_candidates           whether the candidates may be published
publish_candidates        the pointer that readers follow
report_run                one page about the day

sample_log                a small lake with a fraction of the users
forget_users              removes users from every table
maintain_tables           compacts tables, and removes files that nobody needs any more
repair_table              restores the last whole version of a table whose log is damaged
"""
