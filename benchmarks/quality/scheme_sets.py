"""The data sets on which schemes of negatives are compared: their source, and the settings that all schemes share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.worlds import amazon_beauty, click_log, cold_logs
from benchmarks.worlds.prepared_folder import FIRST_DAY

DAYS = 8  # of the simulated log
SIMULATED = {"users": 5_000, "items": 20_000, "days": DAYS, "taste": 4.0}
SCHEMES: dict[str, dict[str, Any]] = {
    "none": {"training": {"preset": "in_batch", "correction": "none"}},
    "in_batch": {"training": {"preset": "in_batch"}},
    "in_batch_8x": {"training": {"preset": "in_batch"}},  # with a batch eight times as large
    "mns": {"training": {"preset": "mns"}},
    "cbns": {"training": {"preset": "cbns"}},
    "cbns_not_rescaled": {"training": {"preset": "cbns"}, "negatives": {"bank_gradient_rescaling": False}},
    "mixed_cross_batch": {"training": {"preset": "mixed_cross_batch"}},
    "in_batch_never_clicked": {
        "training": {"preset": "in_batch"},
        "negatives": {"never_clicked": 16, "never_clicked_weight": 0.3},
    },
}
WITHOUT_VARIANTS = ("none", "in_batch", "mns", "cbns", "mixed_cross_batch")
WITH_NEW_ITEMS = ("none", "in_batch", "in_batch_never_clicked", "mns")
LARGER = 8  # batches in the bank; also the factor of in_batch_8x's batch size


@dataclass(frozen=True)
class SchemeSet:
    """Two prepared folders, (validation, test), and the configuration that all schemes share."""

    name: str
    title: str
    configuration: dict[str, Any]
    schemes: tuple[str, ...]
    temperatures: tuple[float, ...]  # candidates, tried on the validation part
    rates: tuple[float, ...]  # factors of the learning rate, tried at the best temperature
    selection_metrics: int  # settings are chosen by Recall@20 (1), or by the sum of Recall@20 and NDCG@20 (2)
    parts: tuple[str, str]  # names of the two folders
    make: Callable[[Path], object]  # writes both into a given folder
    source: Path | None = None  # a file or folder that must exist

    @property
    def batch_size(self) -> int:
        return int(self.configuration["training"]["batch_size"])

    def selection_value(self, point: Sequence[float]) -> float:
        """The value to maximise at a point (epoch, seconds, Recall@20, NDCG@20) of a curve."""
        return sum(point[2 : 2 + self.selection_metrics])

    def best_value(self, line: Mapping[str, Any]) -> float:
        """The best selection value of a run."""
        return max(self.selection_value(point) for point in line["curve"])

    def folders(self, folder: Path) -> tuple[Path, Path]:
        return (folder / self.name / self.parts[0], folder / self.name / self.parts[1])

    def prepare(self, folder: Path) -> None:
        self.make(folder / self.name)

    def missing(self) -> str | None:
        """Why the set cannot be used; None if it can."""
        return f"{self.source} does not exist" if self.source is not None and not self.source.exists() else None


def _make_movielens(folder: Path) -> None:
    from benchmarks.worlds.prepared_days import movielens_lake, prepare

    lake = movielens_lake(folder / "lake")
    for number in (7, 8):  # train up to logical day 8 and evaluate on day 9; train up to 9 and evaluate on 10
        prepare(lake, FIRST_DAY + dt.timedelta(days=number), folder)


def _make_simulated(folder: Path) -> None:
    from benchmarks.worlds.prepared_days import prepare, simulated_lake

    lake = simulated_lake(folder / "lake", **SIMULATED)
    for number in (DAYS - 3, DAYS - 2):
        prepare(lake, FIRST_DAY + dt.timedelta(days=number), folder)


def _make_latest_small(folder: Path) -> None:
    click_log.write(folder / "validation", cold_logs.movielens(tenths_left_out=1))
    click_log.write(folder / "test", cold_logs.movielens())


def _make_eb_nerd(days: Sequence[dt.date], folder: Path) -> None:
    for day in days:
        click_log.write(folder / str(day), cold_logs.eb_nerd(day))


def _days(last: int) -> tuple[str, str]:
    return tuple(str(FIRST_DAY + dt.timedelta(days=number)) for number in (last - 1, last))  # type: ignore[return-value]


def _configuration(batch_size: int, learning_rate: float, epochs: int, **model: float) -> dict[str, Any]:
    return {
        "training": {"batch_size": batch_size, "learning_rate": learning_rate, "epochs": epochs, "threads": 1},
        "negatives": {
            "corpus": batch_size,
            "unclicked": batch_size // 4,
            "empty_pool": "skip",
            "bank": LARGER * batch_size,
        },
        "model": model,
    }


def _beauty() -> dict[str, Any]:
    """Users are their history alone, and items in it are masked: both were chosen on the validation part."""
    shared = _configuration(2_048, 0.1, 28, item_id_dropout=0.0, item_id_shrinkage=0.0, history_dropout=0.5)
    shared["negatives"] |= {"mask": "history", "bank": 4 * 2_048}
    return shared


def _beauty_neighbours() -> dict[str, Any]:
    shared = _beauty()
    shared["training"] |= {"epochs": 30, "positive_temperature_ratio": 1.1}
    return shared


def _eb_nerd(last_day: dt.date) -> SchemeSet:
    """Trained up to a day of EB-NeRD and evaluated on the next; settings are chosen two days earlier."""
    days, after = (last_day - dt.timedelta(days=2), last_day), last_day + dt.timedelta(days=1)
    return SchemeSet(
        f"eb_nerd_{last_day:%d}",
        f"EB-NeRD: trained up to {last_day:%d %B}, evaluated on {after:%d %B}",
        _configuration(64, 0.05, 10),  # 500 clicks make 8 steps
        WITH_NEW_ITEMS,
        (0.1, 0.2),
        (),
        1,
        (str(days[0]), str(days[1])),
        partial(_make_eb_nerd, days),
        cold_logs.DATA / "ebnerd_sample",
    )


SETS = {
    chosen.name: chosen
    for chosen in (
        SchemeSet(
            "movielens",
            "MovieLens-100K: trained on logical days 1 to 9, evaluated on day 10",
            _configuration(512, 0.05, 12),
            tuple(scheme for scheme in SCHEMES if scheme != "cbns_not_rescaled"),
            (0.1, 0.15, 0.2, 0.25, 0.3),
            (2.0,),
            1,
            _days(8),
            _make_movielens,
        ),
        SchemeSet(
            "simulated",
            "Simulated log: {users:,} users, {items:,} items, trained on days 1 to 7, evaluated on day 8".format(
                **SIMULATED
            ),
            _configuration(512, 0.02, 8, user_id_dropout=0.5, history_dropout=0.3),
            tuple(SCHEMES),
            (0.1, 0.15, 0.2, 0.3),
            (2.0, 4.0),
            1,
            _days(DAYS - 2),
            _make_simulated,
        ),
        SchemeSet(
            "amazon_beauty",
            "Amazon Beauty (M1): the published split, training items masked",
            _beauty(),
            WITHOUT_VARIANTS,
            (0.15, 0.2, 0.25),
            (),
            2,
            ("validation", "test"),
            amazon_beauty.prepare,
            amazon_beauty.FOLDER,
        ),
        SchemeSet(
            "amazon_beauty_neighbours",
            "Amazon Beauty (M1), 256 dimensions, an item's ten nearest neighbours as its feature",
            _beauty_neighbours(),
            ("in_batch",),
            (0.17, 0.2),
            (),
            2,
            ("validation", "test"),
            partial(amazon_beauty.prepare, neighbours=10, dim=256),
            amazon_beauty.FOLDER,
        ),
        SchemeSet(
            "ml_latest_small",
            "MovieLens ml-latest-small: each user's last tenth of the ratings is held out",
            _configuration(1_024, 0.05, 12),
            WITH_NEW_ITEMS,
            (0.1, 0.2),
            (),
            1,
            ("validation", "test"),
            _make_latest_small,
            cold_logs.DATA / "ml-latest-small",
        ),
        _eb_nerd(dt.date(2023, 2, 27)),
        _eb_nerd(dt.date(2023, 2, 28)),
    )
}
