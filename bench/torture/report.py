"""What a run found, as JSON, as a summary, and in full where a promise was broken."""

import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench.torture.case import Case
from bench.torture.journal import ACCEPTED, REFUSED
from bench.torture.run import Result
from bench.torture.snapshot import Decided

_HISTORY_MOST: Final = 60


def to_json(result: Result) -> dict[str, Any]:
    """Everything but journal and snapshot, which are too large."""
    return {
        "version": 1,
        "seed": result.options.seed,
        "minutes": result.options.minutes,
        "faults_asked_for": list(result.options.kinds),
        "rate_per_s": result.options.per_s,
        "started_at": result.started_at,
        "took_s": round(result.took_s, 1),
        "about": result.about,
        "counts": _counts(result),
        "rounds": [_rounded(asdict(each)) for each in result.rounds],
        "kinds": _kinds(result),
        "notices": result.notices,
        "violations": [each._asdict() for each in result.violations],
    }


def summary(stored: dict[str, Any]) -> str:
    """The figures of a run for a person."""
    counts = stored["counts"]
    lines = [f"Seed {stored['seed']}, {stored['minutes']:g} minutes under faults."]
    lines += stored["notices"]
    lines.append(
        f"{counts['faults']} faults of {counts['kinds']} kinds in {counts['rounds']} rounds, "
        f"and {counts['missed']} that met nothing to break; "
        f"{counts['late']} rounds in which the flow came back later than its target."
    )
    lines.append(", ".join(f"{counts[name]:,} {name}" for name in _TOLD))
    lines += [
        f"  {kind:<22} {figures['count']:>4}   back within {figures['back_http_most_s']} s over "
        f"HTTP, {figures['back_partner_most_s']} s over queues; longest gap "
        f"{figures['gap_most_s']} s"
        for kind, figures in stored["kinds"].items()
    ]
    broken = len(stored["violations"])
    lines.append("Every promise was kept." if not broken else f"BROKEN PROMISES: {broken}")
    return "\n".join(lines)


def failure(result: Result, folder: Path) -> str:
    """What is needed to understand a broken promise; kept in a file too, as is the journal."""
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / f"journal-{result.options.seed}.jsonl"
    result.journal.save(journal)
    schedule = folder / f"schedule-{result.options.seed}.json"
    schedule.write_text(json.dumps([asdict(each) for each in result.rounds], indent=1))
    case = Case(result.journal, result.books)
    lines = [f"{v.rule}: {v.subject}: {v.found}" for v in result.violations]
    for wallet_id in _wallets(result, case)[:3]:
        lines += ["", f"History of wallet {wallet_id}:", *_history(case, wallet_id)]
    kinds = f" --faults {','.join(result.options.kinds)}" if result.options.kinds else ""
    options = result.options
    arguments = f"--minutes {options.minutes:g} --seed {options.seed} --rate {options.per_s:g}"
    lines += [
        "",
        f"The journal is in {journal}, the schedule in {schedule}.",
        f"Repeat it: ./tekana torture {arguments}{kinds}",
    ]
    told = "\n".join(lines)
    # What was only shown may be gone by the time somebody wants to understand it.
    (folder / f"broken-{options.seed}.txt").write_text(told + "\n")
    return told


_TOLD: Final = ("sent", "accepted", "refused", "unknown", "decided", "succeeded", "rejected")


def _counts(result: Result) -> dict[str, int]:
    case = Case(result.journal, result.books)
    bodies = case.bodies.values()
    accepted = [body for body in bodies if ACCEPTED in body.verdicts]
    refused = [body for body in bodies if all(v.startswith(REFUSED) for v in body.verdicts)]
    rejected = sum(row.outcome.rejection is not None for row in result.books.decided)
    tried = [each for made in result.rounds for each in made.faults]
    struck = [each for each in tried if not each.missed]
    return {
        "faults": len(struck),
        "missed": len(tried) - len(struck),
        "kinds": len({each.kind for each in struck}),
        "rounds": len(result.rounds),
        "late": sum(made.late for made in result.rounds),
        "sent": len(case.bodies),
        "accepted": len(accepted),
        "refused": len(refused),
        "unknown": len(case.bodies) - len(accepted) - len(refused),
        "decided": len(result.books.decided),
        "succeeded": len(result.books.decided) - rejected,
        "rejected": rejected,
        "answers": len(result.journal.seen),
        "events": len(result.journal.told),
    }


def _kinds(result: Result) -> dict[str, dict[str, Any]]:
    """By kind: how often, and the slowest return of the flow, alone and in company."""
    found: dict[str, list[Any]] = defaultdict(list)
    for made in result.rounds:
        for each in made.faults:
            if not each.missed:
                found[each.kind].append(made)
    return {
        kind: {
            "count": len(rounds),
            "alone": sum(len(made.faults) == 1 for made in rounds),
            "back_most_s": _most(made.back_s for made in rounds),
            "back_http_most_s": _most(made.back_http_s for made in rounds),
            "back_partner_most_s": _most(made.back_partner_s for made in rounds),
            "back_alone_most_s": _most(made.back_s for made in rounds if len(made.faults) == 1),
            "gap_most_s": _most(made.gap_s for made in rounds),
        }
        for kind, rounds in sorted(found.items())
    }


def _most(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return round(max(known), 1) if known else None


def _wallets(result: Result, case: Case) -> list[str]:
    """The wallets that broken promises are about, as far as they name one."""
    found: dict[str, None] = {}
    for violation in result.violations:
        for word in violation.subject.split():
            if word in result.books.wallets:
                found[word] = None
            for body in case.by_id.get(word, ()):
                found[body.order_key] = None
    return list(found)


def _history(case: Case, wallet_id: str) -> list[str]:
    lines = [
        _line(case, row)
        for row in case.snapshot.decided
        if wallet_id in (row.source_wallet_id, row.destination_wallet_id)
    ]
    left_out = len(lines) - _HISTORY_MOST
    return [f"… {left_out} earlier ones"] * (left_out > 0) + lines[-_HISTORY_MOST:]


def _line(case: Case, row: Decided) -> str:
    body = case.body_of(row)
    sent = "never sent" if body is None else f"sent {body.first[0]:.3f}"
    if body is not None and body.confirmed_at is not None:
        sent += f" confirmed {body.confirmed_at:.3f} by {','.join(sorted(body.doors))}"
    rejection = row.outcome.rejection
    result = row.outcome.status if rejection is None else f"rejected {rejection.code}"
    entries = " ".join(f"{e.wallet_id[:8]}#{e.seq}{e.amount:+d}" for e in row.outcome.entries)
    return (
        f"  {row.partition}/{row.position} {row.instruction.idempotency_key} "
        f"{row.instruction.type} {result} {entries} {sent}"
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value
