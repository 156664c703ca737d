# What stands in the from and to of a message. Part of _core.pyx.

_CHANNEL_PREFIX = re.compile(r"\s*(?:whatsapp:|rcs:)?\s*")
_WRITTEN_NUMBER = re.compile(r"\+?[0-9]+|\+[0-9 ().-]+")
_USER_ID = re.compile(r"[A-Za-z]{2}\.[A-Za-z0-9.]{1,135}")

cdef enum:
    # Of digits, with the country code.
    SHORTEST_PHONE = 7
    LONGEST_PHONE = 15


def classify_address(str raw not None) -> tuple:
    """(kind, address) of a sender or recipient; the stub says what kinds there are."""
    cdef Written written
    cdef str address, digits
    if _read_plain(raw, &written) and SHORTEST_PHONE <= written.count <= LONGEST_PHONE:
        return "phone", _phone(raw, &written)
    address = raw[_CHANNEL_PREFIX.match(raw).end():].rstrip()
    if _WRITTEN_NUMBER.fullmatch(address):
        # No country code begins with 0: 00 stands for the plus that is not there.
        digits = "+" + "".join([ch for ch in address.removeprefix("00") if ch.isdecimal()])
        if SHORTEST_PHONE < len(digits) <= LONGEST_PHONE + 1:
            _read_plain(digits, &written)
            return "phone", _phone(digits, &written)
        if 3 <= len(address) <= 6 and address.isdecimal():
            return "short_code", address
        return "malformed", address
    if _USER_ID.fullmatch(address):
        return "user_id", address
    if len(address) <= 11 and "+" not in address and address.isprintable() and any([ch.isalpha() for ch in address]):
        return "name", address
    return "malformed", address


cdef str _phone(str raw, const Written* written):
    """What libphonenumber makes of + and digits; where it makes nothing, the digits: plans go out of date."""
    cdef National national
    cdef str e164
    if _split(written, NULL, &national) != PARSED or not national.changed:
        return raw
    e164 = _e164(&national)
    return e164 if SHORTEST_PHONE < len(e164) <= LONGEST_PHONE + 1 else raw
