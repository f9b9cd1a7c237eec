"""The raw log: files and their formats, landing, attribution, encoding, the simulator."""
