"""Taking over the settings of a search: the decisions that the table adoptions records, and what they rest on."""
