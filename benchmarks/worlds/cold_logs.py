"""Logs in which items without a click are clicked later: a planted world, EB-NeRD, and two of MovieLens.

Axes: N clicks, U users, I items.
"""

from __future__ import annotations

import csv
import datetime as dt
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.worlds.click_log import TIMED_HISTORY, USER_ID, ClickLog
from jobs.raw_log import movielens as ml
from model.features import FeatureSpec
from model.vocabulary import FIRST_INDEX

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CLUSTER = FeatureSpec("cluster", "categorical", 16, 1, "cluster", "item.cluster")
SEEN = FeatureSpec("first_seen", "numeric", 8, 1, "first_seen", None)  # hours
YEAR = FeatureSpec("year", "numeric", 8, 1, "year", None)
GENRES = FeatureSpec("genres", "categorical", 8, 4, "genres", "item.genres")
HELD_OUT_SHARE = 0.1  # of each user's ratings in MovieLens, the last ones
UNCLICKED = 10  # items of the same request that are kept with a click of EB-NeRD


def planted(
    users: int = 2_000, items: int = 2_000, clusters: int = 20, clicks: int = 20, held_out: int = 5
) -> ClickLog:
    """Users click items of their own cluster; a fifth of the items is shown only after the training clicks.

    The cluster is a feature of the item, which is wrong for one item of ten.
    """
    random = np.random.default_rng(0)
    cluster_of, size = np.arange(items) % clusters, items // clusters
    share = 1 / np.arange(5, 5 + size)
    late = random.random(items) < 0.2
    trained, afterwards = [], []
    for user in range(users):
        home = np.flatnonzero(cluster_of == user % clusters)
        chosen = random.choice(home, clicks + held_out, replace=False, p=share / share.sum())
        away = random.random(len(chosen)) < 0.15
        chosen[away] = random.integers(0, items, away.sum())
        trained.append(chosen[:clicks][~late[chosen[:clicks]]])
        afterwards.append(np.unique(chosen[clicks:]))
    clicker = np.repeat(np.arange(users), [len(chosen) for chosen in trained])
    order = random.permutation(len(clicker))
    wrong = random.random(items) < 0.1
    feature = np.where(wrong, random.integers(0, clusters, items), cluster_of) + FIRST_INDEX
    clicked = np.concatenate(trained)
    shown = np.bincount(clicked, minlength=items) + 1
    return ClickLog(clicker[order], clicked[order], shown, afterwards, {CLUSTER: feature})


def eb_nerd(last_day: dt.date, days: int | None = None) -> ClickLog:
    """EB-NeRD up to and including a day, and the clicks of the day after on articles that were shown by then.

    An article is described by the hour in which it was first shown. days: the last ones before and with that day; None:
    all.
    """
    rows = pq.read_table(DATA / "ebnerd_sample" / "behaviors.parquet").sort_by("impression_time").to_pylist()
    first_day = dt.date.min if days is None else last_day - dt.timedelta(days=days - 1)
    before = [row for row in rows if first_day <= row["impression_time"].date() <= last_day]
    after = [row for row in rows if row["impression_time"].date() == last_day + dt.timedelta(days=1)]
    first_shown: dict[int, float] = {}
    for row in before:
        for article in row["article_ids_inview"]:
            first_shown.setdefault(article, row["impression_time"].timestamp() / 3600)
    number_of = {article: number for number, article in enumerate(first_shown)}
    user_of = {user: number for number, user in enumerate(dict.fromkeys(row["user_id"] for row in before))}
    clicks = [(row, article) for row in before for article in row["article_ids_clicked"] if article in number_of]
    shown = np.zeros(len(number_of), dtype=np.int64)
    np.add.at(shown, [number_of[article] for row in before for article in row["article_ids_inview"]], 1)
    relevant: list[list[int]] = [[] for _ in user_of]
    for row in after:
        if row["user_id"] in user_of:
            known = [number_of[article] for article in row["article_ids_clicked"] if article in number_of]
            relevant[user_of[row["user_id"]]] += known
    unclicked = np.full((len(clicks), UNCLICKED), -1)
    for own, (row, _) in zip(unclicked, clicks, strict=True):
        shown_only = [article for article in row["article_ids_inview"] if article not in row["article_ids_clicked"]]
        own[: len(shown_only)] = [number_of[article] for article in shown_only[:UNCLICKED]]
    return ClickLog(
        np.array([user_of[row["user_id"]] for row, _ in clicks]),
        np.array([number_of[article] for _, article in clicks]),
        shown,
        [np.unique(np.array(found, dtype=np.int64)) for found in relevant],
        {SEEN: np.array([*first_shown.values()])},
        unclicked=unclicked,
    )


def movielens(with_features: bool = True, tenths_left_out: int = 0, *, gaps: bool = False) -> ClickLog:
    """ml-latest-small: ratings are exposures, ratings of 4 or more clicks; each user's last tenth is held out.

    tenths_left_out: of each user's ratings, the last ones, as if they had not happened yet. gaps: whether the history
    has them; lists are made at the first rating that is held out.
    """
    folder = DATA / "ml-latest-small"
    films = [*csv.DictReader((folder / "movies.csv").open(encoding="utf-8"))]
    number_of = {film["movieId"]: number for number, film in enumerate(films)}
    ratings = csv.DictReader((folder / "ratings.csv").open(encoding="utf-8"))
    rows = sorted(ratings, key=lambda row: int(row["timestamp"]))
    users = np.array([int(row["userId"]) - 1 for row in rows])  # [exposures]
    items = np.array([number_of[row["movieId"]] for row in rows])
    minutes = np.array([int(row["timestamp"]) // 60 for row in rows])
    clicked = np.array([float(row["rating"]) >= 4 for row in rows])
    held_out, left_out = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    for user in range(users.max() + 1):
        own = np.flatnonzero(users == user)
        tenth = int(HELD_OUT_SHARE * len(own))
        end = len(own) - tenths_left_out * tenth
        held_out[own[end - tenth : end]], left_out[own[end:]] = True, True
    relevant = [items[held_out & clicked & (users == user)] for user in range(users.max() + 1)]
    before = ~(held_out | left_out)
    shown = np.bincount(items[before], minlength=len(films))
    trained = clicked & before
    log = ClickLog(users[trained], items[trained], shown, relevant, _described(films) if with_features else {})
    first = np.array([minutes[(users == user) & (held_out | before)].max() for user in range(len(relevant))])
    np.minimum.at(first, users[held_out], minutes[held_out])
    return replace(log, minutes=minutes[trained], list_minutes=first, user=(USER_ID, *TIMED_HISTORY)) if gaps else log


def movielens_100k(*, gaps: bool = False) -> ClickLog:
    """MovieLens-100K with its own times: the clicks of the demo's days 1 to 8, and those of day 9 after them.

    The demo's log has each user's ratings of a day one minute apart. gaps: as for `movielens`.
    """
    first_day = dt.date(2026, 1, 1)
    ratings = ml.movielens_100k(first_day)[0].sort_values("timestamp", kind="stable")
    day = ratings["ds"].map(lambda ds: (ds - first_day).days).to_numpy()
    users, items = (ratings[name].astype("category").cat.codes.to_numpy(np.int64) for name in ("user_id", "item_id"))
    minutes = ratings["timestamp"].to_numpy(np.int64) // 60
    clicked = ratings["rating"].astype(float).to_numpy() >= ml.CLICK_RATING
    trained, asked = clicked & (day < 8), day == 8
    relevant = [items[asked & clicked & (users == user)] for user in range(users.max() + 1)]
    shown = np.bincount(items[day < 8], minlength=items.max() + 1)
    log = ClickLog(users[trained], items[trained], shown, relevant, {})
    first = np.full(len(relevant), minutes.max())
    np.minimum.at(first, users[asked], minutes[asked])
    return replace(log, minutes=minutes[trained], list_minutes=first, user=(USER_ID, *TIMED_HISTORY)) if gaps else log


def _described(films: list[dict[str, str]]) -> dict[FeatureSpec, np.ndarray]:
    years = [re.search(r"\((\d{4})\)", film["title"]) for film in films]
    names = sorted({name for film in films for name in film["genres"].split("|")})
    genres = np.zeros((len(films), GENRES.length), dtype=np.int64)
    for film, row in zip(films, genres, strict=True):
        chosen = [names.index(name) + FIRST_INDEX for name in film["genres"].split("|")][: GENRES.length]
        row[: len(chosen)] = chosen
    return {YEAR: np.array([float(year[1]) if year else np.nan for year in years]), GENRES: genres}
