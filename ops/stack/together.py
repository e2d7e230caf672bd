"""Do something to several services at once."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from ops.stack.service import PortTaken, Service
from ops.stack.signals import undisturbed

_LAST_MOMENTS = 2
"""How often a port may be lost between its choice and the start before `start_all` gives up."""

Report = Callable[[str, str], None]
"""Told the name of a service and its state: starting, ready, stopping, stopped."""


def silent(_name: str, _state: str) -> None:
    """Report to nobody."""


def start_all(services: Iterable[Service], report: Report) -> None:
    """Start what does not run and return when all of it answers.

    One that lost a port to somebody at the last moment is given others and tried again. If one
    fails, or on Ctrl-C, what this call started is ended. Raises what failed first, or
    KeyboardInterrupt.
    """
    starting = [service for service in services if not service.running()]
    if not starting:
        return
    for service in starting:
        service.settle_ports()

    def start(service: Service) -> None:
        report(service.name, "starting")
        _start_somewhere(service)
        report(service.name, "ready")

    # In threads, and not only for speed: Ctrl-C is raised in the main thread alone, so a
    # process that has been started is always recorded.
    with ThreadPoolExecutor(len(starting)) as pool:
        futures = [pool.submit(start, service) for service in starting]
        try:
            _raise_first_failure(futures)
        except BaseException:
            with undisturbed():
                for service in starting:
                    service.interrupt()
                wait(futures)
                for service in starting:
                    service.kill()
                    report(service.name, "stopped")
            raise


def _start_somewhere(service: Service) -> None:
    for _ in range(_LAST_MOMENTS):
        try:
            service.start()
        except PortTaken:
            service.settle_ports()
        else:
            return
    service.start()


def stop_all(services: Iterable[Service], report: Report) -> None:
    """Stop all in order. All are tried; then the first failure is raised."""

    def stop(service: Service) -> None:
        running = service.running()
        if running:
            report(service.name, "stopping")
        service.stop()  # Also where it has crashed: its children may be alive.
        if running:
            report(service.name, "stopped")

    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(stop, service) for service in services]
        wait(futures)
    _raise_first_failure(futures)


def _raise_first_failure(futures: list[Future[None]]) -> None:
    """Wait for all, and raise what failed first as soon as it has failed."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=0.1)
        for future in done:
            future.result()
