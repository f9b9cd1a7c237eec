"""Search, scoring, look-ups and publications."""
