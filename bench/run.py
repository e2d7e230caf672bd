"""One run: ground, figures, the books verified, and all of it told."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench import machine
from bench.bench import Bench
from bench.books import open_wallets
from bench.clock import Clock
from bench.figures import aged
from bench.ground import BOOKS, Ground
from bench.groups import Group, groups
from bench.progress import Steps
from bench.results import Figure, Unmeasured
from bench.sizes import Sizes
from ops.errors import OperatorError
from storage.verify import verify

_LEAST_SHARE: Final = 0.05
"""A group is not begun with less than this part of the run's time left: it has to end."""


@dataclass(slots=True)
class Run:
    """All that a run found out."""

    size: str
    started_at: str
    about: dict[str, Any]
    figures: list[Figure] = field(default_factory=list)
    unmeasured: list[Unmeasured] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    """What `verify` found wrong, by database."""
    verified: dict[str, int] = field(default_factory=dict)
    """How many instructions `verify` looked at, by database."""
    took_s: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether something was not measured or the books are wrong. A missed target is neither."""
        return bool(self.unmeasured or self.findings)

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "version": 1,
            "size": self.size,
            "started_at": self.started_at,
            "took_s": round(self.took_s, 1),
            "about": self.about,
            "figures": [figure.to_json() for figure in self.figures],
            "unmeasured": [{"name": u.name, "reason": u.reason} for u in self.unmeasured],
            "verify": {"instructions": self.verified, "findings": self.findings},
        }


def run(sizes: Sizes, folder: Path) -> Run:
    """Measure everything on ground of its own, which is gone afterwards, come what may.

    Raises: OperatorError if the ground cannot be made; KeyboardInterrupt.
    """
    clock = Clock(sizes.limit_s)
    ground = Ground(folder)
    found = Run(sizes.name, datetime.now(UTC).isoformat(timespec="seconds"), machine.about())
    with Steps(clock) as steps:
        for warning in machine.warnings(found.about):
            steps.say(warning)
        ground.claim()
        try:
            with steps.step("private Postgres, RabbitMQ and Redis"):
                ground.up(steps.report)
            found.about["versions"] |= machine.service_versions(ground.services)
            with steps.step(f"{sizes.wallets:,} wallets"), ground.operator() as engine:
                open_wallets(engine, ground.client_id, sizes.wallets)
            bench = Bench(ground, sizes, clock, steps, found.figures)
            for group in groups(sizes):
                _measure(group, bench, found)
            _verify(bench, found)
        finally:
            ground.purge()
    found.took_s = clock.passed_s
    return found


def _measure(group: Group, bench: Bench, found: Run) -> None:
    """One group; what fails is told and does not stop the others."""
    reason = ""
    if bench.clock.left_s < _LEAST_SHARE * bench.clock.limit_s:
        reason = "there was no time left"
    else:
        try:
            found.figures += group.measure(bench, group.end_share * bench.clock.limit_s)
        except OperatorError as error:
            reason = error.format_message()
        except Exception as error:  # noqa: BLE001  A bench that breaks says so, and goes on.
            reason = f"{type(error).__name__}: {error}"
    if reason:
        for name in group.names:
            bench.steps.say(f"Not measured: {name}. {reason}")
            found.unmeasured.append(Unmeasured(name, reason))


def _verify(bench: Bench, found: Run) -> None:
    """Whatever was measured, the books have to be true afterwards."""
    databases = [BOOKS]
    if any(figure.name == aged.AGED for figure in found.figures):
        databases.append(aged.DATABASE)
    for database in databases:
        with bench.steps.step(f"verify: {database}"), bench.ground.operator(database) as engine:
            verdict = verify(engine)
        found.verified[database] = verdict.counts["instructions"]
        found.findings += [f"{database}: {each.subject} {each.fault}" for each in verdict.findings]
