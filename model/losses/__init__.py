"""Sampled softmax, the loss of all schemes of negative sampling."""

from model.losses.sampled_softmax import Columns, RowNegatives, rescale_column_gradient, sampled_softmax_loss

__all__ = ["Columns", "RowNegatives", "rescale_column_gradient", "sampled_softmax_loss"]
