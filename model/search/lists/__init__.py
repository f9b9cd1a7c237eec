"""Candidate lists: the channels that they are merged from, and the one scale of their scores."""

SOURCES = ("two_tower", "popular", "explore", "neighbours")  # the names of the channels, by number
TWO_TOWER, POPULAR, EXPLORE, NEIGHBOURS = range(len(SOURCES))
