"""Feature kinds from outside the package, configured as "tests.extensions.my_kind:LogNumber" and so on."""

from __future__ import annotations

from model.features.kinds import Numeric, Vector


class LogNumber(Numeric):
    """A number of 0 or more on a logarithmic scale; null if it is missing, negative or not finite."""

    def encoding(self, column: str, length: int) -> str:
        return f"case when `{column}` between 0 and 1e300 then cast(log1p(`{column}`) as float) end"


class ClicksAWeek(Numeric):
    """Recent clicks of an item a week."""

    is_logged = False
    derivation = "float(7 * _recent_clicks / 30)"


class Shares(Vector):
    """Numbers that add up to 1, which need no scale."""

    is_scaled = True
