# Phone numbers. Part of _core.pyx.

# How national numbers begin that may carry a national prefix, and the country codes where they do. Behind "+" and
# these codes, any other beginning means that libphonenumber changes no digit.
_PREFIX_STARTS = (
    (
        "",
        "30 34 39 45 47 48 52 56 65 216 220 221 222 223 224 225 226 227 228 229 230 235 236 237 238 239 240 242 244 "
        "245 246 247 248 253 257 258 266 267 268 269 290 297 299 350 351 354 356 357 371 372 376 420 500 501 502 503 "
        "504 505 507 509 592 597 599 670 673 674 675 676 677 678 679 680 681 682 683 685 687 688 689 690 691 800 808 "
        "852 853 870 878 881 882 883 888 960 965 968 973 974 975 979 992 998",
    ),
    (
        "0",
        "20 27 31 32 33 40 41 43 46 49 51 53 57 58 60 62 63 64 66 81 82 84 90 91 92 93 94 95 98 211 212 213 218 231 "
        "232 233 234 243 249 250 251 252 254 255 256 260 262 263 264 265 291 353 355 358 359 373 374 377 380 381 382 "
        "383 385 386 387 389 421 508 590 591 593 594 595 596 598 686 850 855 856 880 886 961 962 963 964 966 967 970 "
        "971 972 976 977 994 995 996",
    ),
    ("1", "1 692"),
    ("8", "7 993"),
    ("06", "36"),
    ("0 18", "44 61"),
    ("0 11 2 3", "54"),
    ("0 90", "55"),
    ("0 11 12 17", "86"),
    ("0", "241"),
    ("0 2 4 5 6 7 8 9", "261"),
    ("10", "298"),
    ("15", "352"),
    ("0 8", "370 375"),
    ("8 9", "378"),
    ("0 10", "423"),
    ("19", "506"),
    ("0 1 2 5 8", "672"),
)
_REASONS = {
    0: ("invalid_country_code", "it has no known country code; write it with + and the country code"),
    1: ("not_a_number", "it has no digits of one; write + and 7 to 15 digits"),
    2: ("too_short", "it is too short; write + and 7 to 15 digits"),
    3: ("too_short", "it is too short; write + and 7 to 15 digits"),
    4: ("too_long", "it is too long; write + and 7 to 15 digits"),
}
cdef uint16_t _prefix_starts[1000][10]  # by country code and first digit: a bit for each second digit
cdef uint8_t _country_codes[1000]


cdef int _place_prefix_starts() except -1:
    for starts, codes in _PREFIX_STARTS:
        for code in codes.split():
            _country_codes[int(code)] = True
            for start in starts.split():
                _prefix_starts[int(code)][int(start[0])] |= 1 << int(start[1]) if len(start) > 1 else 0x3FF
    return 0


cdef int _plain_country_code(str raw):
    """The country code of + and 7 to 15 digits that are E.164 as they stand; 0 if that takes libphonenumber to say."""
    cdef Py_ssize_t i, length = len(raw)
    cdef int kind = PyUnicode_KIND(raw), code = 0
    cdef const uint8_t* digits = <const uint8_t*>PyUnicode_DATA(raw)
    if kind != 1 or not 8 <= length <= 16 or digits[0] != c"+":
        return 0
    for i in range(1, length):
        if not c"0" <= digits[i] <= c"9":
            return 0
    if digits[1] == c"0":
        return 0
    for i in range(1, 4):
        code = code * 10 + digits[i] - c"0"
        if _country_codes[code]:
            if _prefix_starts[code][digits[i + 1] - c"0"] >> (digits[i + 2] - c"0") & 1:
                return 0
            return code
    return 0


class NumberParseError(ValueError):
    """Not a phone number. `reason`: not_a_number, invalid_country_code, too_short or too_long."""

    def __init__(self, str reason, str message):
        super().__init__(message)
        self.reason = reason


@cython.final
cdef class PhoneNumber:
    """A phone number as libphonenumber reads it; its labels are worked out when first asked for."""

    cdef readonly str e164
    cdef readonly int country_code
    cdef object _parsed

    def __init__(self):
        raise TypeError("a PhoneNumber comes from normalize(text)")

    def __eq__(self, other):
        return isinstance(other, PhoneNumber) and (<PhoneNumber>other).e164 == self.e164

    def __hash__(self):
        return hash(self.e164)

    def __repr__(self):
        return f"PhoneNumber(+{self.country_code}…{self.e164[len(self.e164) - 2:]})"

    cdef object _number(self):
        if self._parsed is None:
            self._parsed = _phonenumbers().parse(self.e164)
        return self._parsed

    @property
    def region(self):
        return _phonenumbers().region_code_for_number(self._number())

    @property
    def type(self):
        kind = _phonenumbers().number_type(self._number())
        return _phonenumbers().PhoneNumberType.to_string(kind).lower()

    @property
    def valid(self):
        return _phonenumbers().is_valid_number(self._number())

    @property
    def possible(self):
        return _phonenumbers().is_possible_number(self._number())


cdef object _phonenumbers():
    # Late, because most processes never need it: it costs more memory and time than the rest of this module.
    import phonenumbers
    return phonenumbers


def normalize(str raw not None, region=None) -> PhoneNumber:
    """A phone number from what somebody wrote; the stub says more."""
    cdef PhoneNumber number = PhoneNumber.__new__(PhoneNumber)
    number.country_code = _plain_country_code(raw)
    if number.country_code:
        number.e164 = raw
        return number
    numbers = _phonenumbers()
    try:
        number._parsed = numbers.parse(raw, region)
    except numbers.NumberParseException as error:
        reason, message = _REASONS[error.error_type]
        raise NumberParseError(reason, f"this is not a phone number: {message}") from None
    number.country_code = number._parsed.country_code
    number.e164 = numbers.format_number(number._parsed, numbers.PhoneNumberFormat.E164)
    return number


_place_prefix_starts()
