"""Search for the items with the highest scores, and candidate lists from the results."""
