"""What a run amounts to: figures for a table, and for one line of JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles in milliseconds, of so many."""

    count: int
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, times_s: Sequence[float]) -> "Latency | None":
        """By nearest rank; None of nothing."""
        if not times_s:
            return None
        ranked = sorted(times_s)

        def at(share: float) -> float:
            place = min(len(ranked) - 1, int(share * len(ranked)))
            return round(1000 * ranked[place], 1)

        return cls(len(ranked), at(0.5), at(0.99))


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Outcomes that were pushed to a receiver. `latency` is from decided to received."""

    verified: int
    """Events that were received and proved to be ours, repeats not counted."""
    repeated: int
    refused: int
    latency: Latency | None


@dataclass(frozen=True, slots=True)
class Deposits:
    """Money that a partner paid in over its queue. Latencies are from sent to read, by it."""

    told: int
    """Deposits whose outcome came over the queue."""
    per_s: float | None
    """From the first that was sent to the last outcome that was read."""
    receipt_latency: Latency | None
    outcome_latency: Latency | None


@dataclass(slots=True)
class Figures:
    """All that is shown at the end of a run. Amounts in minor units."""

    run: str
    file: str
    rows: int
    wallets: int
    accepted: int = 0
    succeeded: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    rows_per_s: float | None = None
    batch_latency: Latency | None = None
    single_latency: Latency | None = None
    callbacks: Callbacks | None = None
    deposits: Deposits | None = None
    repeats: int = 0
    hottest: list[dict[str, Any]] = field(default_factory=list)
    disagreements: list[str] = field(default_factory=list)
    books_sound: bool = False
    seconds: float = 0.0

    @property
    def agrees(self) -> bool:
        """Whether the ledger, the replay and `verify` all say the same."""
        return self.books_sound and not self.disagreements

    def count(self, views: Sequence[dict[str, Any]]) -> None:
        """Count outcomes, as the API shows them."""
        codes = Counter(view["rejection"]["code"] for view in views if view["rejection"])
        self.rejected = dict(codes.most_common())
        self.succeeded = len(views) - codes.total()

    def time(self, views: Sequence[dict[str, Any]]) -> None:
        """Measure instructions that were sent in batches, by the times that they bear."""
        if not views:
            return
        submitted = [datetime.fromisoformat(view["submitted_at"]) for view in views]
        decided = [datetime.fromisoformat(view["decided_at"]) for view in views]
        self.batch_latency = Latency.of(
            [(end - begin).total_seconds() for begin, end in zip(submitted, decided, strict=True)]
        )
        took_s = (max(decided) - min(submitted)).total_seconds()
        self.rows_per_s = round(len(views) / max(took_s, 0.001), 1)
