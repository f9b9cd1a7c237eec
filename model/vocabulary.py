"""The reserved numbers of item and user indices, shared by `model` and `jobs`. This module does not import torch."""

NO_ITEM = -1  # fills the free slots of a list of item ids or positions
PADDING = 0  # the index that fills a list feature to its length
UNKNOWN = 1  # the index of every value that is not in the vocabulary; it has a trained embedding
FIRST_INDEX = 2  # the first index that a vocabulary gives to a value
