"""Instructions that wait in the partitions' queues, and how fast they get their outcomes."""

from typing import Final

from bench.bench import Bench
from bench.ground import PARTITIONS
from bench.transfers import Draw
from bench.watched import Watched
from ops.errors import OperatorError
from producers.instructions import publish_all
from producers.publisher import Publisher
from producers.topology import declaring

_PIECE: Final = 1000
_CONFIRM_TIMEOUT_S: Final = 30.0


class Waiting:
    """Publishes instructions as the API does, and sees their outcomes come in Redis."""

    def __init__(self, bench: Bench) -> None:
        services = bench.ground.services
        self._transfers = bench.transfers()
        self._watched = Watched(services.redis_url)
        self._publisher = Publisher(
            services.broker_url,
            name="bench",
            confirm_timeout_s=_CONFIRM_TIMEOUT_S,
            declare=declaring(PARTITIONS),
        )
        self._expected = 0

    def publish(self, count: int, source: Draw, destination: Draw) -> None:
        """Make so many transfers wait, each confirmed; outcomes from before are forgotten.

        Raises: OperatorError if the broker does not confirm them all.
        """
        self._watched.clear()
        self._expected = 0
        self.publish_more(count, source, destination)

    def publish_more(self, count: int, source: Draw, destination: Draw) -> None:
        """As `publish`, and outcomes from before still count."""
        for start in range(0, count, _PIECE):
            piece = self._transfers.many(min(_PIECE, count - start), source, destination)
            failures = [each for each in publish_all(self._publisher, piece, PARTITIONS) if each]
            if failures:
                raise OperatorError(f"The broker did not confirm: {failures[0]}.")
        self._expected += count

    def drained_per_s(self) -> float:
        """Outcomes a second, until all that was published has one; see `Watched.per_s`."""
        return self._watched.per_s(self._expected)

    def drained(self) -> None:
        """Return once all that was published has its outcome, however soon."""
        self._watched.wait(self._expected)

    def close(self) -> None:
        """Disconnect."""
        self._publisher.close()
        self._watched.close()
