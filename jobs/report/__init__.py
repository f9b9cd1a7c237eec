"""The report of a run, one HTML page: its content is in headline, flow, gate, quality, lists and training; its layout
in page, charts and figures; its path in files.
"""
