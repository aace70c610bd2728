"""Circuit breaker: what a call does while another one closes the circuit."""

from __future__ import annotations

from tests.support.clock import Clock
from valetkey.storage.engine.circuit_breaker import CircuitBreaker


def test_a_call_that_is_checked_while_the_circuit_is_closed_raises_nothing_unexpected() -> None:
    """The backend responds to another thread between two steps of the check."""
    clock = Clock()
    breaker = CircuitBreaker("the backend", clock)
    breaker.trip()
    clock.forward(2)
    is_reset = []

    def read_clock_while_another_thread_succeeds() -> float:
        breaker.reset()
        is_reset.append(True)
        return clock.time

    breaker._clock = read_clock_while_another_thread_succeeds

    breaker.check()

    assert is_reset
