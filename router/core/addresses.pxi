# What stands in the from and to of a message. Part of _core.pyx.

_CHANNEL_PREFIX = re.compile(r"\s*(?:whatsapp:|rcs:)?\s*")
_WRITTEN_NUMBER = re.compile(r"\+?[0-9]+|\+[0-9 ().-]+")
_USER_ID = re.compile(r"[A-Za-z]{2}\.[A-Za-z0-9.]{1,135}")

cdef enum:
    # Of digits, with the country code.
    SHORTEST_PHONE = 7
    LONGEST_PHONE = 15


def classify_address(raw not None) -> tuple:
    """(kind, address) of a sender or recipient; the stub says what kinds there are."""
    cdef Written written
    cdef str address = _exact(raw), digits
    if _read_plain(address, &written) and SHORTEST_PHONE <= written.count <= LONGEST_PHONE and written.digits[0] != 0:
        return "phone", _phone(address, &written)
    address = address[_CHANNEL_PREFIX.match(address).end():].rstrip()
    if _WRITTEN_NUMBER.fullmatch(address):
        digits = _with_plus("".join([ch for ch in address if ch.isdecimal()]))
        if SHORTEST_PHONE < len(digits) <= LONGEST_PHONE + 1:
            _read_plain(digits, &written)
            return "phone", _phone(digits, &written)
        if 3 <= len(address) <= 6 and address.isdecimal():
            return "short_code", address
        return "malformed", address
    if _USER_ID.fullmatch(address):
        return "user_id", address
    if len(address) <= 11 and "+" not in address and any([ch.isalpha() for ch in address]):
        if all([ch.isprintable() or unicodedata.category(ch) == "Zs" for ch in address]):
            return "name", address
    return "malformed", address


cdef str _with_plus(str digits):
    """International digits behind a plus: no country code begins with 0, so 00 is another way to write the plus."""
    if digits.startswith("00") and len(digits) - 2 >= SHORTEST_PHONE and digits[2] != "0":
        return "+" + digits[2:]
    return "+" + digits


cdef str _phone(str raw, const Written* written):
    """What libphonenumber makes of + and digits; where it makes nothing, the digits: plans go out of date."""
    cdef National national
    cdef str e164
    if _split(written, NULL, &national) != PARSED or not national.changed:
        return raw
    e164 = _e164(&national)
    return e164 if SHORTEST_PHONE < len(e164) <= LONGEST_PHONE + 1 else raw
