# Phone numbers, as libphonenumber reads them. Part of _core.pyx.
#
# The tables are made by router/numbering.py, which says how they are read. What a text with letters, extensions or
# parameters means is left to libphonenumber; everything else is worked out here, step by step as it does.

cdef extern from "numbering.h" nogil:
    ctypedef struct NumberingPlan:
        const char* region
        uint16_t country_code
        uint32_t lengths
        uint32_t local_lengths
        uint16_t general
        uint16_t prefix
        uint16_t international
    ctypedef struct NumberingCountry:
        uint16_t code
        uint16_t first
        uint16_t count
        uint16_t root
    ctypedef struct NumberingAction:
        const char* insert
        uint8_t first
        uint8_t last
        uint8_t end
    const char* NUMBERING_VERSION
    int NUMBERING_PLANS
    int NUMBERING_COUNTRIES
    int NUMBERING_TYPES
    const NumberingPlan* numbering_plans
    const NumberingCountry* numbering_countries
    const NumberingAction* numbering_actions
    const char** numbering_types
    const uint16_t* numbering_labels
    const uint16_t numbering_targets[1][10]

cdef enum:
    # What became of a text; from INVALID_COUNTRY_CODE on libphonenumber's error types.
    UNCERTAIN = -2
    PARSED = -1
    INVALID_COUNTRY_CODE = 0
    NOT_A_NUMBER = 1
    TOO_SHORT_AFTER_IDD = 2
    TOO_SHORT = 3
    TOO_LONG = 4
    # Of characters and of digits, as libphonenumber has them.
    LONGEST_WRITTEN = 250
    SHORTEST_NATIONAL = 2
    LONGEST_NATIONAL = 17
    LONGEST_INSERT = 5

cdef struct Written:  # the digits of a text
    uint8_t digits[LONGEST_WRITTEN]
    int count
    bint international  # behind a plus
    bint plain  # nothing but + and these digits, in ASCII

cdef struct Digits:  # some digits, and who keeps them
    const uint8_t* at
    int count

cdef struct National:  # a number in two parts
    const NumberingCountry* country
    Digits digits
    bint changed  # whether the digits differ from those written
    # Digits that a national prefix was taken off, or changed by one; then that once more.
    uint8_t first_room[LONGEST_WRITTEN + LONGEST_INSERT]
    uint8_t second_room[LONGEST_WRITTEN + 2 * LONGEST_INSERT]

_REASONS = {
    INVALID_COUNTRY_CODE: ("invalid_country_code", "it has no known country code; write + and the country code first"),
    NOT_A_NUMBER: ("not_a_number", "it has no digits of one; write + and 7 to 15 digits"),
    TOO_SHORT_AFTER_IDD: ("too_short_after_idd", "what follows the 00 is too short; write + and 7 to 15 digits"),
    TOO_SHORT: ("too_short_nsn", "it is too short; write + and 7 to 15 digits"),
    TOO_LONG: ("too_long", "it is too long; write + and 7 to 15 digits"),
}
#: The version of `phonenumbers` whose numbering plans were compiled in.
METADATA_VERSION = NUMBERING_VERSION.decode()
cdef tuple _region_names = tuple([numbering_plans[i].region.decode() for i in range(NUMBERING_PLANS)])
#: The regions, without the world (001).
REGIONS = frozenset([name for name in _region_names if len(name) == 2])
cdef tuple _type_names = tuple([numbering_types[i].decode() for i in range(NUMBERING_TYPES)])
cdef int16_t _country_of_code[1000]  # place in numbering_countries, -1 for none
cdef int16_t _plan_of_region[26][26]  # place in numbering_plans, by two letters, -1 for none


cdef int _place_countries():
    cdef int i, first, second
    memset(_country_of_code, 0xFF, sizeof(_country_of_code))
    memset(_plan_of_region, 0xFF, sizeof(_plan_of_region))
    for i in range(NUMBERING_COUNTRIES):
        _country_of_code[numbering_countries[i].code] = i
    for i in range(NUMBERING_PLANS):
        first, second = numbering_plans[i].region[0] - c"A", numbering_plans[i].region[1] - c"A"
        if 0 <= first < 26 and 0 <= second < 26:  # not 001, the world
            _plan_of_region[first][second] = i
    return 0


# Texts -----------------------------------------------------------------------------------------------------------


cdef inline bint _is_digit_mark(Py_UCS4 ch) noexcept nogil:
    """Whether libphonenumber passes over a character between digits, and nothing else can be meant by it."""
    if ch < 0x80:
        return ch == c"-" or ch == c" " or c"(" <= ch <= c"*" or ch == c"." or ch == c"/" or ch == c"[" or ch == c"]"
    return (
        ch == 0xA0 or ch == 0xAD or ch == 0x200B or 0x2010 <= ch <= 0x2015 or ch == 0x2053 or ch == 0x2060
        or ch == 0x2212 or ch == 0x223C or ch == 0x3000 or ch == 0xFF08 or ch == 0xFF09 or 0xFF0D <= ch <= 0xFF0F
        or ch == 0xFF3B or ch == 0xFF3D
    )


cdef inline bint _is_plus(Py_UCS4 ch) noexcept nogil:
    return ch == c"+" or ch == 0xFF0B


cdef inline int _digit(Py_UCS4 ch) noexcept nogil:
    """What a decimal digit of any script is worth, -1 for other characters."""
    if ch < 0x80:
        return <int>ch - c"0" if c"0" <= ch <= c"9" else -1
    return Py_UNICODE_TODECIMAL(ch)


cdef inline bint _ends_number(Py_UCS4 ch) noexcept nogil:
    """Whether a character of ASCII, no digit mark, is cut off where nothing but such follows."""
    cdef uint32_t letter = <uint32_t>ch | 0x20
    return ch < 0x80 and not c"a" <= letter <= c"z" and ch != c"#" and ch != c";"


cdef bint _read_plain(str raw, Written* written) noexcept:
    """Reads a plus and at least three digits of ASCII."""
    cdef const uint8_t* characters = <const uint8_t*>PyUnicode_DATA(raw)
    cdef Py_ssize_t i, length = PyUnicode_GET_LENGTH(raw)
    if PyUnicode_KIND(raw) != 1 or not 4 <= length <= LONGEST_WRITTEN or characters[0] != c"+":
        return False
    for i in range(1, length):
        written.digits[i - 1] = characters[i] - c"0"
        if written.digits[i - 1] > 9:
            return False
    written.count = length - 1
    written.international = written.plain = True
    return True


cdef int _read_number(str raw, Written* written) noexcept:
    """Reads the digits of a text: PARSED, UNCERTAIN, NOT_A_NUMBER or TOO_LONG."""
    cdef int kind = PyUnicode_KIND(raw), digit
    cdef const void* data = PyUnicode_DATA(raw)
    cdef Py_ssize_t i = 0, length = PyUnicode_GET_LENGTH(raw), first_digit = -1
    cdef Py_UCS4 ch
    cdef bint ended = False
    written.count = 0
    written.international = written.plain = False
    if length > LONGEST_WRITTEN:
        return TOO_LONG
    for i in range(length):
        ch = PyUnicode_READ(kind, data, i)
        digit = _digit(ch)
        if digit >= 0:
            if ended:
                return UNCERTAIN
            if first_digit < 0:
                first_digit = i
            elif written.count == 1 and i != first_digit + 1:
                first_digit = -2  # two digits are only a number by themselves if nothing stands between them
            written.digits[written.count] = digit
            written.count += 1
        elif ch == c";":
            return UNCERTAIN
        elif written.count == 0 and not written.international:
            written.international = _is_plus(ch)  # whatever else stands in front is passed over
        elif _is_plus(ch) and written.count == 0 and not ended and _is_plus(PyUnicode_READ(kind, data, i - 1)):
            continue
        elif not _is_digit_mark(ch):
            if not _ends_number(ch):
                return UNCERTAIN
            ended = True
    if written.count >= 3 or (written.count == 2 and not written.international and first_digit >= 0):
        return PARSED
    return NOT_A_NUMBER


cdef inline Digits _digits(const uint8_t* at, int count) noexcept nogil:
    # Handed to the struct itself, an array would be copied to where the pointer leads.
    cdef Digits found
    found.at, found.count = at, count
    return found


# The automaton ---------------------------------------------------------------------------------------------------


cdef inline uint16_t _label(uint16_t root, Digits number) noexcept nogil:
    """The label of the state that the digits lead to."""
    cdef uint16_t state = root
    cdef int i
    if number.count > LONGEST_NATIONAL:
        return 0
    for i in range(number.count):
        state = numbering_targets[state][number.at[i]]
    return numbering_labels[state]


cdef inline int _action(uint16_t root, Digits number) noexcept nogil:
    """The action of the prefix that the digits begin with, 0 for none."""
    cdef uint16_t state = root, label = numbering_labels[root]
    cdef int i, action = label & 0xFF
    for i in range(number.count):
        state = numbering_targets[state][number.at[i]]
        if state == 0:
            break
        label = numbering_labels[state]
        if i == number.count - 1 and label >> 8:
            action = label >> 8
        elif label & 0xFF:
            action = label & 0xFF
    return action


cdef inline const NumberingCountry* _country_code(Digits number, int* length) noexcept nogil:
    """The country whose code the digits begin with, and how long that is; NULL for none."""
    cdef int i, code = 0
    if number.count == 0 or number.at[0] == 0:
        return NULL
    for i in range(min(number.count, 3)):
        code = code * 10 + number.at[i]
        if _country_of_code[code] >= 0:
            length[0] = i + 1
            return numbering_countries + _country_of_code[code]
    return NULL


cdef inline bint _is_long_enough(const NumberingPlan* plan, int count) noexcept nogil:
    """Whether a number is of a possible length, or too long: neither too short, local, nor in between."""
    if count > LONGEST_NATIONAL:
        return True
    if plan.local_lengths >> count & 1:
        return False
    return plan.lengths >> count & 1 or _is_too_long(plan, count)


cdef inline bint _is_too_long(const NumberingPlan* plan, int count) noexcept nogil:
    return count > LONGEST_NATIONAL or not (plan.local_lengths >> count & 1 or plan.lengths >> count)


cdef inline Digits _without_prefix(const NumberingPlan* plan, Digits number, uint8_t* room) noexcept nogil:
    """The digits as they are without a national prefix, in `room` if they differ inside."""
    cdef int number_of_action = _action(plan.prefix, number) if number.count else 0, size
    cdef const NumberingAction* action = numbering_actions + number_of_action
    cdef Digits found
    if number_of_action == 0:
        return number
    if action.first == action.last and action.insert[0] == 0:
        found = _digits(number.at + action.end, number.count - action.end)
    else:
        size = 0
        while action.insert[size]:
            room[size] = action.insert[size] - c"0"
            size += 1
        memcpy(room + size, number.at + action.first, action.last - action.first)
        size += action.last - action.first
        memcpy(room + size, number.at + action.end, number.count - action.end)
        found = _digits(room, size + number.count - action.end)
    if _label(plan.general, number) and not _label(plan.general, found):
        return number
    return found


cdef int _split(const Written* written, const NumberingPlan* home, National* national) noexcept nogil:
    """The country and the national number; PARSED, UNCERTAIN or an error type. `home` is where it was written."""
    cdef Digits digits = _digits(written.digits, written.count), found
    cdef const NumberingPlan* plan = home
    cdef int length = 0, action
    national.country = NULL
    if written.international:
        national.country = _country_code(digits, &length)
        if national.country is NULL:
            return INVALID_COUNTRY_CODE
    else:
        action = _action(home.international, digits)
        length = numbering_actions[action].end
        if action and (length == digits.count or digits.at[length] != 0):
            digits = _digits(digits.at + length, digits.count - length)
            if digits.count <= SHORTEST_NATIONAL:
                return TOO_SHORT_AFTER_IDD
            national.country = _country_code(digits, &length)
            if national.country is NULL:
                return INVALID_COUNTRY_CODE
        else:
            length = 0
    digits = _digits(digits.at + length, digits.count - length)
    if national.country is NULL and _country_code_of(home, digits, &length):
        found = _without_prefix(home, _digits(digits.at + length, digits.count - length), national.first_room)
        if (_label(home.general, found) and not _label(home.general, digits)) or _is_too_long(home, digits.count):
            national.country = numbering_countries + _country_of_code[home.country_code]
            digits = found
    if national.country is NULL:
        national.country = numbering_countries + _country_of_code[home.country_code]
    else:
        plan = numbering_plans + national.country.first
    if digits.count < SHORTEST_NATIONAL:
        return TOO_SHORT
    found = _without_prefix(plan, digits, national.second_room)
    national.changed = found.at != digits.at and _is_long_enough(plan, found.count)
    national.digits = found if national.changed else digits
    if national.digits.count < SHORTEST_NATIONAL:
        return TOO_SHORT
    return TOO_LONG if national.digits.count > LONGEST_NATIONAL else PARSED


cdef inline bint _country_code_of(const NumberingPlan* home, Digits number, int* length) noexcept nogil:
    """Whether the digits begin with the country code of a plan, and how long that is."""
    cdef const NumberingCountry* country = _country_code(number, length)
    return country is not NULL and country.code == home.country_code


# Numbers ---------------------------------------------------------------------------------------------------------


class NumberParseError(ValueError):
    """Not a phone number; the stub says more."""

    def __init__(self, str reason, str message):
        super().__init__(message)
        self.reason = reason

    def __reduce__(self):
        return NumberParseError, (self.reason, str(self))


@cython.final
@cython.freelist(64)
@cython.auto_pickle(False)
cdef class PhoneNumber:
    """A phone number as libphonenumber reads it; the stub says more."""

    cdef readonly str e164
    cdef readonly int country_code
    cdef uint16_t _label
    cdef bint _possible

    def __init__(self):
        raise TypeError("a PhoneNumber comes from normalize(text)")

    def __eq__(self, other):
        return isinstance(other, PhoneNumber) and (<PhoneNumber>other).e164 == self.e164

    def __hash__(self):
        return hash(self.e164)

    def __repr__(self):
        return f"PhoneNumber(+{self.country_code}…{self.e164[len(self.e164) - 2:]})"

    def __reduce__(self):
        return _restored, (self.e164, self.country_code)

    @property
    def region(self):
        cdef const NumberingCountry* country
        if self.e164 is None:  # made by hand
            return None
        country = numbering_countries + _country_of_code[self.country_code]
        if country.count == 1:
            return _region_names[country.first]
        return _region_names[country.first + (self._label >> 4) - 1] if self._label >> 4 else None

    @property
    def type(self):
        return _type_names[self._label & 0xF]

    @property
    def valid(self):
        return self._label & 0xF != 0

    @property
    def possible(self):
        return self._possible


def _restored(str e164 not None, int code) -> PhoneNumber:
    """A number that was pickled, with the labels of the plans that are compiled in here."""
    cdef Written written
    if 0 < code < 1000 and _country_of_code[code] >= 0 and _read_plain(e164, &written):
        if e164.startswith(f"+{code}") and len(str(code)) < written.count <= LONGEST_NATIONAL + len(str(code)):
            return _described(numbering_countries + _country_of_code[code], _behind_code(&written, code), e164)
    raise _refused(NOT_A_NUMBER)


cdef inline PhoneNumber _described(const NumberingCountry* country, Digits digits, str e164):
    cdef PhoneNumber number = PhoneNumber.__new__(PhoneNumber)
    cdef const NumberingPlan* plan = numbering_plans + country.first
    number.e164 = e164
    number.country_code = country.code
    number._label = _label(country.root, digits)
    number._possible = (plan.lengths | plan.local_lengths) >> digits.count & 1
    return number


cdef str _e164(const National* national):
    cdef int code = national.country.code, i
    cdef int before = 2 if code < 10 else 3 if code < 100 else 4
    cdef str e164 = PyUnicode_New(before + national.digits.count, 0x7F)
    cdef uint8_t* text = <uint8_t*>PyUnicode_DATA(e164)
    text[0] = c"+"
    for i in range(before - 1, 0, -1):
        text[i] = c"0" + code % 10
        code //= 10
    for i in range(national.digits.count):
        text[before + i] = c"0" + national.digits.at[i]
    return e164


cdef object _phonenumbers():
    # Late, because most processes never need it: it costs more memory and time than the rest of this module.
    import phonenumbers
    return phonenumbers


cdef inline Digits _behind_code(const Written* written, int code) noexcept nogil:
    cdef int length = 1 if code < 10 else 2 if code < 100 else 3
    return _digits(written.digits + length, written.count - length)


cdef PhoneNumber _left_to_libphonenumber(str raw, str region):
    cdef Written written
    numbers = _phonenumbers()
    try:
        parsed = numbers.parse(raw, region)
    except numbers.NumberParseException as error:
        raise _refused(error.error_type) from None
    cdef str e164 = numbers.format_number(parsed, numbers.PhoneNumberFormat.E164)
    _read_plain(e164, &written)
    cdef int code = parsed.country_code
    if _country_of_code[code] < 0:  # the phonenumbers that is installed is newer than the plans
        raise _refused(INVALID_COUNTRY_CODE)
    return _described(numbering_countries + _country_of_code[code], _behind_code(&written, code), e164)


cdef object _refused(int error_type):
    reason, message = _REASONS[error_type]
    return NumberParseError(reason, f"this is not a phone number: {message}")


cdef inline const NumberingPlan* _home(str region) noexcept:
    """The plan of a region; NULL for None and for what is no region."""
    cdef const uint8_t* letters
    cdef int first, second, plan
    if region is None or PyUnicode_KIND(region) != 1 or PyUnicode_GET_LENGTH(region) != 2:
        return NULL
    letters = <const uint8_t*>PyUnicode_DATA(region)
    first, second = <int>letters[0] - c"A", <int>letters[1] - c"A"
    plan = _plan_of_region[first][second] if 0 <= first < 26 and 0 <= second < 26 else -1
    return numbering_plans + plan if plan >= 0 else NULL


cdef inline int _understood(str raw, str region, Written* written, National* national) noexcept:
    """PARSED, UNCERTAIN or an error type."""
    cdef const NumberingPlan* home
    cdef int outcome
    if not _read_plain(raw, written):
        outcome = _read_number(raw, written)
        if outcome != PARSED:
            return outcome
    home = _home(region)
    if home is NULL and not written.international:
        return INVALID_COUNTRY_CODE
    outcome = _split(written, home, national)
    # Behind a plus that no country code follows, libphonenumber tries the number as one of the region.
    return UNCERTAIN if outcome == INVALID_COUNTRY_CODE and written.international and region is not None else outcome


cdef inline str _exact(object text):
    """The text itself, and for a subclass of str, such as a StrEnum, its characters."""
    return <str>text if type(text) is str else "".join((text,))


def normalize(raw not None, region=None) -> PhoneNumber:
    """The phone number in a text; the stub says more."""
    cdef Written written
    cdef National national
    cdef str text = _exact(raw)
    cdef str home = None if region is None else _exact(region)
    cdef int outcome = _understood(text, home, &written, &national)
    if outcome == UNCERTAIN:
        return _left_to_libphonenumber(text, home)
    if outcome != PARSED:
        raise _refused(outcome)
    cdef bint as_written = written.plain and not national.changed
    return _described(national.country, national.digits, text if as_written else _e164(&national))


def is_certain(raw not None, region=None) -> bool:
    """Whether `normalize` knows what a text is without asking libphonenumber."""
    cdef Written written
    cdef National national
    return _understood(_exact(raw), None if region is None else _exact(region), &written, &national) != UNCERTAIN


_place_countries()
