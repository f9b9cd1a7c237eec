"""A feature kind from outside the package, configured as "tests.extensions.my_kind:LogNumber"."""

from __future__ import annotations

from model.features.kinds import Numeric


class LogNumber(Numeric):
    """A number of 0 or more on a logarithmic scale; null if it is missing, negative or not finite."""

    def encoding(self, column: str, length: int) -> str:
        return f"case when `{column}` between 0 and 1e300 then cast(log1p(`{column}`) as float) end"
