"""Optuna's search over the settings: a trial is a training, judged after each epoch on the held-out day.

The study is a file that grows by a line for each event, so a search that is killed goes on from its last trial.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import __version__
from jobs.config.loading import Config
from jobs.tuning.protocol import Measured, TrialFailed, measured
from jobs.tuning.space import Settings, configured, current, drawn, searched
from jobs.tuning.spec import trial_spec
from model.training.processes.lines import say
from model.training.spec import TrainingSpec

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

# what a trial stores
SETTINGS, SEARCHED, EPOCHS, REASON, SAME_AS = "settings", "searched", "epochs", "reason", "same_as"
FIRST_DRAWN = 8  # trials that are drawn at random before the search learns from them
PRUNED_AFTER = 2  # epochs before which no trial is pruned
ENOUGH = 20  # complete trials from which the importance of a setting can be told


@dataclass(frozen=True)
class Base:
    """The training that all trials vary. pool_is_empty: whether the day has no pool of unclicked items."""

    day: TrainingSpec
    config: Config
    pool_is_empty: bool

    def spec(self, settings: Settings, seed: int) -> TrainingSpec:
        """Raises TrialFailed if the settings contradict each other."""
        try:
            config = configured(self.config, settings, pool_is_empty=self.pool_is_empty)
            return trial_spec(self.day, config, pool_is_empty=self.pool_is_empty, seed=seed)
        except ValueError as error:
            raise TrialFailed(str(error)) from error

    @property
    def study_name(self) -> str:
        """The same for the same code version, inputs, configuration and space: only then can a search go on.

        The variants are part of it, because settings that contradict one of them fail; so is whether there is a pool,
        without which a preset may have other negatives than with it.
        """
        tuning = self.config.tuning.model_dump(exclude={"take_over"})  # which does not change what is measured
        parts = [__version__, self.day.identity, self.pool_is_empty, tuning, self.config.variants]
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def open_study(base: Base, file: Path) -> Study:
    """The study of this search, with the trials of earlier attempts; a trial that was interrupted is run again."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name=base.study_name,
        storage=JournalStorage(JournalFileBackend(str(file))),
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST_DRAWN // 2, n_warmup_steps=PRUNED_AFTER),
    )
    # other draws than those of an interrupted attempt
    seed = base.config.training.seed + len(study.trials)
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=FIRST_DRAWN, constant_liar=True)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    if not study.trials:
        study.enqueue_trial(current(base.config))
    say(f"continues a search of {len(ended(study))} trials" if ended(study) else "a new search")
    return study


def search(
    base: Base,
    study: Study,
    *,
    trials: int,
    seconds: float | None,
    processes: int,
    on_trial: Callable[[FrozenTrial], None],
) -> None:
    """Run trials until the study has `trials` of them, or until `seconds` have passed and the running epochs end.

    on_trial is called after each trial. A trial whose training fails does not end the search.
    """
    end = None if seconds is None else time.monotonic() + seconds
    left = trials - len(ended(study))
    if left > 0:
        study.optimize(
            lambda trial: _objective(trial, base, end),
            n_trials=left,
            timeout=seconds,
            n_jobs=processes,
            catch=(TrialFailed,),
            callbacks=[lambda _, trial: on_trial(trial)],
        )


def ended(study: Study) -> list[FrozenTrial]:
    """The trials that have run; those that wait, run or were interrupted are left out."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished() and (SEARCHED in trial.user_attrs or REASON in trial.user_attrs)
    ]


def best_settings(study: Study) -> Settings:
    """Raises TrialFailed with the first reason if no trial has succeeded."""
    from optuna.trial import TrialState

    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        reasons = [trial.user_attrs[REASON] for trial in ended(study) if REASON in trial.user_attrs]
        raise TrialFailed(f"no trial has succeeded; the first one: {(reasons or ['no trial has run'])[0]}")
    settings: Settings = study.best_trial.user_attrs[SETTINGS]
    return settings


def importances(study: Study) -> dict[str, float]:
    """How far the best trials chose other values of a setting than all trials, as shares of 1, the largest first.

    Empty with fewer than ENOUGH complete trials (PED-ANOVA, Watanabe et al. 2023).
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < ENOUGH:
        return {}
    return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))


def _objective(trial: Trial, base: Base, end: float | None) -> float:
    """The metric of the best epoch. Raises TrialPruned if other trials were better after as many epochs."""
    from optuna import TrialPruned

    settings = drawn(trial, searched(base.config))
    trial.set_user_attr(SETTINGS, settings)
    if (same := _with_settings(trial.study, settings)) is not None:  # the same seed would give the same again
        for name in (SEARCHED, EPOCHS):
            trial.set_user_attr(name, same.user_attrs[name])
        trial.set_user_attr(SAME_AS, same.number)
        return float(max(same.user_attrs[SEARCHED]))
    is_pruned = False

    def stops(found: Measured) -> bool:
        nonlocal is_pruned
        trial.report(max(found.searched), step=len(found.searched))
        is_over = found.is_over(base.config.training.patience)
        is_late = end is not None and time.monotonic() > end and not is_over
        # a trial that is cut off says little about its settings, but the first one is better than none
        is_pruned = trial.should_prune() or (is_late and trial.number > 0)
        return is_pruned or is_late or is_over

    try:
        found = measured(base.spec(settings, base.config.training.seed), base.config.tuning.metric, stops)
    except TrialFailed as error:
        trial.set_user_attr(REASON, str(error))
        raise
    trial.set_user_attr(SEARCHED, found.searched)
    trial.set_user_attr(EPOCHS, found.best + 1)
    if is_pruned:
        raise TrialPruned
    return max(found.searched)


def _with_settings(study: Study, settings: Settings) -> FrozenTrial | None:
    """A complete trial with these settings."""
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return next((trial for trial in complete if trial.user_attrs[SETTINGS] == settings), None)


def values_of(trial: FrozenTrial) -> list[Any]:
    """The metric after each epoch of a trial."""
    return list(trial.user_attrs.get(SEARCHED, ()))
