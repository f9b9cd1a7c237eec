"""The report of a run, one HTML page. Content: headline, flow, gate, quality, lists, training. Layout: page, charts,
figures. Where it is stored: files.
"""
