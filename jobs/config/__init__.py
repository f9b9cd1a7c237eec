"""The configuration: sections, declared features, presets, and how a file is loaded."""
