"""The search for the settings that give the best recall on a lake's own held-out day."""
