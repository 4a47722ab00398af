"""What a check of health holds a value against, and what it says when the value is elsewhere."""

from dataclasses import dataclass
from math import isfinite

from genbench.records import Check


@dataclass(frozen=True)
class Rule:
    """The range in which a value is healthy.

    Attributes:
        low: the least healthy value, or None.
        high: the greatest, or None.
        under: what it says of the model that a value is under `low`; one sentence.
        over: that it is over `high`.
    """

    low: float | None = None
    high: float | None = None
    under: str = ""
    over: str = ""

    @property
    def words(self) -> str:
        """Return the range as a record has it."""
        if self.low is None:
            return f"at most {self.high:.4g}"
        return f"at least {self.low:.4g}" if self.high is None else f"{self.low:.4g} to {self.high:.4g}"

    def check(self, name: str, value: float) -> Check:
        """Hold a value against the rule; one that is not finite breaks every rule, and is recorded as None."""
        if not isfinite(value):
            return Check(name=name, value=None, flagged=True, rule=self.words, meaning="The value is not finite.")
        under = self.low is not None and value < self.low
        over = self.high is not None and value > self.high
        said = [self.under] if under else [self.over] if over else [self.under, self.over]
        meaning = " ".join(sentence for sentence in said if sentence)
        return Check(name=name, value=value, flagged=under or over, rule=self.words, meaning=meaning)
