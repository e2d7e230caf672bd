"""The plain design: what the drain figure is compared with, written as one would in earnest.

One Celery task and one ORM transaction for each transfer: FOR UPDATE in the order of ids,
double entry, a unique idempotency key, acknowledged late, quorum queue, results in Redis.
"""
