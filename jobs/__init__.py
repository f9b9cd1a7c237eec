"""The jobs, in the order in which a day runs them (`run_day` runs all of them, `run_demo` several days;
each also runs alone):

ingest_logs | ingest_movielens | simulate_log    a log lands in the raw tables
await_log                 whether the day has landed
build_interactions        each impression with its outcome
rebuild_days              earlier days that late clicks change, once more
build_reconciliation      where every row of the log went
build_vocabularies        a dense index for what is seen for the first time
build_snapshots           items and users as they are known at the end of the day
build_training_examples   clicks, with features as they stood at the impression
build_histories           what each user has clicked up to the end of the day
build_item_counts         what the day did with each item
build_window_counts       what the days of the training window did with it, together
build_negative_pools      exposed and never clicked
build_sampling_probs      how often each source of negatives draws each item
build_popular_items       what is clicked most, in each segment of users
train_two_tower           a model version
build_user_embeddings     every user's vector
build_item_index          item embeddings, and indexes over the available ones, measured
score_users               K candidates for every user
evaluate_candidates       how good they are
gate_candidates           whether they are fit for readers
publish_candidates        the pointer that readers follow
report_run                one page on all of it

sample_log                a small lake of a fraction of the users, to try things on
forget_users              takes users out of every table
maintain_tables           compacts, and removes what no kept publication needs
repair_table              brings a table whose log is damaged back to its last whole version
"""
