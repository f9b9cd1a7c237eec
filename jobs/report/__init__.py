"""The report of a run, one HTML page. Content: sections. Layout: page, charts, figures. Where it is stored: files."""
