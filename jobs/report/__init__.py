"""The report of a run: what it says (`headline`, `flow`, `quality`, `lists`, `training`), and how that looks (`page`,
`charts`, `figures`).
"""
