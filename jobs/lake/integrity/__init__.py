"""Damage to a table's Delta log: how it is found and repaired, and which log stores are safe."""
