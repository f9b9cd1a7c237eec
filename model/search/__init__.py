"""Nearest items for query vectors, and candidate lists made of them."""
