"""The jobs, in the order in which a day runs them. `run_day` runs all jobs of a day, `run_demo` several days; each job
also runs alone. Long or shared logic is in the files named on the right; the SQL of a job is in sql/TABLE/.
`batch-recall --help` (cli/main.py) lists them by these headings.

whole days
  run_demo                 ten days of MovieLens, from raw log to lists    raw_log/movielens.py
  run_day                  all jobs of a day, or a stretch of them         cli/progress.py
raw log
  ingest_logs              your files, into the raw tables                 raw_log/{files,mapping,contract,landing}
  ingest_movielens         MovieLens, into the raw tables                  raw_log/movielens.py
  simulate_log             a simulated log with known best recall          raw_log/{simulator,simulated_tables}.py
  await_log                whether the day's log has landed                raw_log/preconditions.py
tables of the day
  build_interactions       each impression with its outcome                raw_log/attribution.py
  rebuild_days             earlier days that late clicks change            raw_log/attribution.py
  build_reconciliation     what became of every row of the log
  build_vocabularies       dense indices of new ids and values             raw_log/encoding.py
  build_snapshots          items and users as known at the end of the day  raw_log/encoding.py
  build_training_examples  clicks, with the features as of the impression  lake/file_layout.py
  build_histories          what each user clicked up to the end of the day  inference/exclusions.py
  build_item_pairs         pairs of items that a user clicked soon after each other
  build_item_counts        impressions, exposures and clicks of each item
  build_window_counts      the same over all days of the training window
  choose_settings          the settings of the day: configured, or of a search  tuning/adoption/
  build_negative_pools     items that were exposed but never clicked       config/presets.py
  build_sampling_probs     how often each source of negatives draws each item
  build_item_neighbours    the items most similar to each item, by who clicked both
  build_popular_items      the most clicked items of each user segment     inference/eligibility.py
model and candidates
  train_two_tower          a model version                                 training/
  build_user_embeddings    every user's vector                             inference/embedding_inputs.py, workers/
  build_item_index         item embeddings, and measured indexes           inference/index_building.py
  score_users              K candidates for every user                     workers/scoring.py, lake/file_layout.py
  evaluate_candidates      metrics of the candidates on later clicks       inference/evaluation.py
  gate_candidates          whether the candidates may be published         serving/{gate_measurements,gate_rules}.py
  publish_candidates       the pointer that readers follow; rollback       serving/{publishing,rollback}.py
  report_run               one page about the day                          report/
beside the daily run
  explain_user             why a user has the published list               serving/explanation.py
  export_candidates        the published lists, in Redis or a folder       serving/export/
  export_user_tower        the published user tower, for online services   serving/export/online.py
  back_test                predicted recall beside that of the next day    inference/evaluation.py
  tune_two_tower           the settings with the best held-out recall      tuning/
  adopt_tuning             a person takes them over, or takes them back    tuning/adoption/
  sample_log               a small lake with a fraction of the users       raw_log/landing/
  forget_users             removes users from every table                  maintenance/forgetting.py
  maintain_tables          compacts tables; removes old days and files     maintenance/{retention,old_days}.py
  repair_table             restores a table whose log is damaged           lake/integrity/
"""

__version__ = "0.1.0"
