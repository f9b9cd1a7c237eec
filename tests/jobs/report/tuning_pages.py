"""The page of a search for settings, without a search: trials whose metrics are given."""

from __future__ import annotations

import datetime as dt

import optuna

from jobs.tuning.comparison import Comparison, Side
from jobs.tuning.page import tuning_page
from jobs.tuning.protocol import Measured
from jobs.tuning.search import EPOCHS, REASON, SEARCHED, SETTINGS


def tuning_page_of(trials: int, epochs: int) -> str:
    """The page of so many complete trials of so many epochs each, and of one that failed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))
    for number in range(trials):
        trial = study.ask()
        temperature = trial.suggest_float("training.temperature", 0.05, 0.5)
        rate = trial.suggest_float("training.learning_rate", 0.01, 0.3)
        values = [0.1 + temperature / 10 + rate / 10 + epoch / 100 for epoch in range(epochs)]
        found = {"training.temperature": temperature, "training.learning_rate": rate}
        for name, value in ((SETTINGS, found), (SEARCHED, values), (EPOCHS, epochs), ("number", number)):
            trial.set_user_attr(name, value)
        study.tell(trial, values[-1])
    failed = study.ask()
    failed.set_user_attr(REASON, "negatives.bank must be at least training.batch_size (4096), got 512")
    study.tell(failed, state=optuna.trial.TrialState.FAIL)
    sides = [
        Side([Measured([value] * epochs, [value + seed / 1000] * epochs, 500, 480) for seed in range(3)])
        for value in (0.1, 0.2)
    ]
    today = {"training.temperature": 0.1, "training.learning_rate": 0.1, "training.epochs": 3}
    step = "Next: pass overlay.toml with --config to use the settings."
    return tuning_page(dt.date(2026, 1, 31), study, today, Comparison(*sides), "ndcg", step)
