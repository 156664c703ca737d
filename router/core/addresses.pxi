# What stands in the from and to of a message. Part of _core.pyx.

_CHANNEL_PREFIX = re.compile(r"\s*(?:whatsapp:|rcs:)?\s*")
_WRITTEN_NUMBER = re.compile(r"\+?[0-9]+|\+[0-9 ().-]+")
_USER_ID = re.compile(r"[A-Za-z]{2}\.[A-Za-z0-9.]{1,135}")


def classify_address(str raw not None) -> tuple:
    """(kind, address) of a sender or recipient; the stub says what kinds there are."""
    cdef str address = raw[_CHANNEL_PREFIX.match(raw).end():].rstrip()
    cdef str digits
    if _WRITTEN_NUMBER.fullmatch(address):
        digits = "".join([ch for ch in address if ch.isdecimal()])
        if 7 <= len(digits) <= 15:
            return "phone", _e164("+" + digits)
        if 3 <= len(address) <= 6 and digits == address:
            return "short_code", address
        return "malformed", address
    if _USER_ID.fullmatch(address):
        return "user_id", address
    if len(address) <= 11 and "+" not in address and address.isprintable() and any([ch.isalpha() for ch in address]):
        return "name", address
    return "malformed", address


cdef str _e164(str international):
    """What libphonenumber makes of + and 7 to 15 digits; where it makes nothing, the digits: plans go out of date."""
    if _plain_country_code(international):
        return international
    try:
        number = normalize(international)
    except NumberParseError:
        return international
    return number.e164 if 8 <= len(number.e164) <= 16 else international
