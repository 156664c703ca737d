"""The pause before the next attempt: it grows, it obeys the destination, and it is counted once."""

import random

from router.delivery.gate import Gate
from router.errors import DeliveryError

AGAIN = DeliveryError("503", retryable=True)


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def pause(gate: Gate, time: Time) -> float:
    """How long the gate stays closed from now on."""
    return max(0.0, gate.opens_at - time.now)


def test_pauses_double_up_to_ten_seconds_less_up_to_half_by_chance() -> None:
    time = Time()
    gate = Gate(time, random.Random(1))
    pauses = []
    for _ in range(12):
        gate.failed(AGAIN)
        pauses.append(pause(gate, time))
        time.now += pauses[-1]

    assert all(0.5 * full <= found <= full for full, found in zip(_doubling(), pauses, strict=False))
    assert 5.0 <= pauses[-1] <= 10.0


def test_a_pause_that_the_destination_asks_for_is_kept_to_the_letter() -> None:
    time = Time()
    gate = Gate(time, random.Random(1))
    gate.failed(DeliveryError("429", retryable=True, retry_after=17.0))

    assert pause(gate, time) == 17.0


def test_attempts_that_fail_together_count_once() -> None:
    time = Time()
    gate = Gate(time, random.Random(1))
    for _ in range(8):
        gate.failed(AGAIN)

    assert pause(gate, time) <= 0.2


def test_a_success_brings_back_the_shortest_pause() -> None:
    time = Time()
    gate = Gate(time, random.Random(1))
    for _ in range(6):
        gate.failed(AGAIN)
        time.now += pause(gate, time)
    gate.succeeded()
    gate.failed(AGAIN)

    assert pause(gate, time) <= 0.2


async def test_an_open_gate_lets_through_at_once() -> None:
    await Gate(Time(), random.Random(1)).opened()


def _doubling() -> list[float]:
    return [min(10.0, 0.2 * 2**i) for i in range(12)]
