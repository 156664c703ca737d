"""What mobile networks do by themselves, whichever carrier a number is rented from."""

from collections.abc import Mapping

from router.types import Intent, NumberType

#: Texts a second that US networks allow a number which nobody has vouched for.
US_RATES: Mapping[NumberType, float] = {"long_code": 1, "toll_free": 3, "short_code": 100}

_COUNTRIES = ("US", "CA")


def answered_by_network(number_type: NumberType, country: str | None) -> frozenset[Intent]:
    """The network behind toll-free numbers answers STOP, and START and UNSTOP, and passes them on."""
    answers = number_type == "toll_free" and country in _COUNTRIES
    return frozenset({"opt_out", "opt_in"} if answers else ())


def network_rate(number_type: NumberType, country: str | None, elsewhere: float) -> float:
    """Texts a second from such a number: what the networks of its country allow, but never more than `elsewhere`."""
    # A short code has no country: it may be one of those.
    limited = country in (*_COUNTRIES, None)
    return min(US_RATES[number_type], elsewhere) if limited else elsewhere
