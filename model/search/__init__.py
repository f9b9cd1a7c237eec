"""Search for the items with the highest scores, and candidate lists made from the results."""
