"""What mobile networks do by themselves, whichever carrier a number is rented from."""

from collections.abc import Mapping

from router.ports import TOLL_FREE_ANSWERS, TOLL_FREE_COUNTRIES, CarrierAnswers
from router.types import Intent, NumberType

#: Texts a second that US networks allow a number which nobody has vouched for.
US_RATES: Mapping[NumberType, float] = {"long_code": 1, "toll_free": 3, "short_code": 100}


def answered_by_network(number_type: NumberType, country: str | None) -> Mapping[Intent, CarrierAnswers]:
    """The network behind toll-free numbers answers STOP, and START and UNSTOP, and passes them on."""
    return TOLL_FREE_ANSWERS if number_type == "toll_free" and country in TOLL_FREE_COUNTRIES else {}


def answered_by_both(
    one: Mapping[Intent, CarrierAnswers], other: Mapping[Intent, CarrierAnswers]
) -> Mapping[Intent, CarrierAnswers]:
    """What either of a carrier and a network answers; unknown words where those of one are not known."""
    both = {intent: _either(one[intent], other[intent]) for intent in one.keys() & other.keys()}
    return {**one, **other, **both}


def _either(one: CarrierAnswers, other: CarrierAnswers) -> CarrierAnswers:
    known = one.words is not None and other.words is not None
    words = (one.words or frozenset()) | (other.words or frozenset())
    return CarrierAnswers(words if known else None, beginning=one.beginning or other.beginning)


def network_rate(number_type: NumberType, country: str | None, elsewhere: float) -> float:
    """Texts a second from such a number: what the networks of its country allow, but never more than `elsewhere`."""
    # A short code of no known country may be one of those.
    limited = country in (*TOLL_FREE_COUNTRIES, None)
    return min(US_RATES[number_type], elsewhere) if limited else elsewhere
