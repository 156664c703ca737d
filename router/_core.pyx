"""The hot path: folding of texts, the keyword trie, form bodies and phone numbers.

Pure functions and tables that never change once built: no I/O, no settings, no callbacks.
"""

import re
import unicodedata
from urllib.parse import unquote

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_DecodeUTF8, PyUnicode_FromKindAndData
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memchr


cdef extern from "Python.h":
    # Cython declares these as needing the interpreter lock.
    int PyUnicode_KIND(object text)
    void* PyUnicode_DATA(object text)
    Py_UCS4 PyUnicode_READ(int kind, const void* data, Py_ssize_t index) noexcept nogil


# Folding ---------------------------------------------------------------------------------------------------------
#
# One entry for every code point. The top byte says how the character behaves, the rest what it folds to: a code
# point, or with EXPANDS the place (16 bits) and number (8 bits) of several in _expansions.

cdef enum:
    WORD = 0  # letters, digits and the marks that spell words
    SPACE = 1
    PUNCT = 2  # punctuation, and symbols that people use like it
    EMOJI = 4  # pictures, and whatever the running Python's Unicode does not know yet
    DROP = 8  # counts as not written: format characters, accents, vowel points
    EXPANDS = 16
    END = 32  # not a character: the text is over
    CODE_POINTS = 0x110000

# Marks that people leave out or add without meaning another word, and letters without a shape of their own. Marks
# of other scripts (Devanagari, Bengali, Thai, kana) spell the word and stay.
_DROPPED = (
    (0x0300, 0x036F), (0x0483, 0x0489), (0x0591, 0x05BD), (0x05BF, 0x05BF), (0x05C1, 0x05C2), (0x05C4, 0x05C5),
    (0x05C7, 0x05C7), (0x0610, 0x061A), (0x0640, 0x0640), (0x064B, 0x065F), (0x0670, 0x0670), (0x06D6, 0x06DC),
    (0x06DF, 0x06E4), (0x06E7, 0x06E8), (0x06EA, 0x06ED), (0x08D3, 0x08E1), (0x08E3, 0x08FF), (0x115F, 0x1160),
    (0x17B4, 0x17B5), (0x180B, 0x180F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0x3164, 0x3164),
    (0xFE00, 0xFE0F), (0xFE20, 0xFE2F), (0xFFA0, 0xFFA0), (0x1F3FB, 0x1F3FF), (0xE0100, 0xE01EF),
)
# What Unicode keeps apart and keyboards do not.
_LETTERS = {
    "ı": "i", "ł": "l", "Ł": "l", "đ": "d", "Đ": "d", "ø": "o", "Ø": "o", "ħ": "h", "Ħ": "h", "ŧ": "t", "Ŧ": "t",
    "æ": "ae", "Æ": "ae", "œ": "oe", "Œ": "oe", "ک": "ك", "ی": "ي", "ى": "ي",
    "‘": "'", "’": "'", "‛": "'", "′": "'", "ʼ": "'", "`": "'", "´": "'",
    "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "―": "-", "−": "-", "﹘": "-",
}
_CHANGES = {ord(letter): folded for letter, folded in _LETTERS.items()}
_CHANGES.update({mark: None for first, last in _DROPPED for mark in range(first, last + 1)})

# Filled by blocks of 256 when a text first needs one: all of them would take a tenth of a second at import. An entry
# never changes once written, and most of this memory is never touched.
cdef uint32_t _entries[CODE_POINTS]
cdef uint8_t _filled[CODE_POINTS >> 8]
cdef uint32_t _expansions[0x10000]
cdef uint32_t _expansions_used = 0


cdef uint32_t _behaviour(str ch) except END:
    cdef str category = unicodedata.category(ch)
    if ch.isspace():
        return SPACE
    if category[0] in "LMN":
        return WORD
    if category[0] == "P" or category in ("Sc", "Sk", "Sm"):
        return PUNCT
    if category in ("Cc", "Cf", "Cs"):
        return DROP
    return EMOJI


cdef str _fold_character(str ch):
    if ch.isspace():
        return " "
    cdef str text = unicodedata.normalize("NFKD", ch.translate(_CHANGES))
    if " " in text:  # an accent standing alone: only what was written as a space separates words
        return ch
    text = unicodedata.normalize("NFKD", text.translate(_CHANGES).casefold()).translate(_CHANGES)
    return "".join([str(unicodedata.decimal(c, c)) for c in text if _behaviour(c) != DROP])


cdef bint _folds_to_itself(str text):
    return (
        unicodedata.is_normalized("NFKD", text)
        and text.casefold() == text.translate(_CHANGES) == text
        and not any([ch.isdecimal() or ch.isspace() for ch in text])
    )


cdef list _fold_block(uint32_t block):
    cdef str text = "".join([chr((block << 8) + i) for i in range(256)])
    if block >= 0x400 and block >> 4 != 0xE0 or _folds_to_itself(text):  # the first: planes without characters
        return list(text)
    return [_fold_character(ch) for ch in text]


cdef int _fill(uint32_t block) except -1:
    """Works out the entries of the 256 code points of a block."""
    global _expansions_used
    cdef uint32_t i, code
    cdef str ch, folded
    cdef list characters = _fold_block(block)
    if _filled[block]:  # by another thread, meanwhile; from here on no other thread can run
        return 0
    for i in range(256):
        code = (block << 8) + i
        folded = characters[i]
        if len(folded) == 0:
            _entries[code] = <uint32_t>DROP << 24
        elif len(folded) == 1:
            _entries[code] = _behaviour(folded) << 24 | ord(folded)
        else:
            _entries[code] = <uint32_t>EXPANDS << 24 | _expansions_used << 8 | <uint32_t>len(folded)
            for ch in folded:
                _expansions[_expansions_used] = _behaviour(ch) << 24 | ord(ch)
                _expansions_used += 1
    _filled[block] = True
    return 0


cdef struct Cursor:  # a place in a text, and in the expansion of the character before it
    int kind
    const void* data
    Py_ssize_t length
    Py_ssize_t next
    uint32_t expansion
    uint32_t expansion_left


cdef int _open(str text, Cursor* cursor) except -1:
    """Sets a cursor at the start of a text whose entries are all known."""
    cdef Py_ssize_t i
    cdef uint32_t block
    cursor.kind = PyUnicode_KIND(text)
    cursor.data = PyUnicode_DATA(text)
    cursor.length = len(text)
    cursor.next = 0
    cursor.expansion_left = 0
    if cursor.kind > 1:
        for i in range(cursor.length):
            block = <uint32_t>PyUnicode_READ(cursor.kind, cursor.data, i) >> 8
            if not _filled[block]:
                _fill(block)
    return 0


cdef inline uint32_t _read(Cursor* cursor) noexcept nogil:
    """The next folded character with its behaviour in the top byte; END when there is none."""
    cdef uint32_t entry
    while True:
        if cursor.expansion_left:
            cursor.expansion += 1
            cursor.expansion_left -= 1
            return _expansions[cursor.expansion - 1]
        if cursor.next >= cursor.length:
            return <uint32_t>END << 24
        entry = _entries[PyUnicode_READ(cursor.kind, cursor.data, cursor.next)]
        cursor.next += 1
        if entry >> 24 == EXPANDS:
            cursor.expansion = entry >> 8 & 0xFFFF
            cursor.expansion_left = entry & 0xFF
        elif entry >> 24 != DROP:
            return entry


def fold(str text not None) -> str:
    """The form in which texts and keywords are compared; the stub says what it does."""
    cdef Cursor cursor, scan
    cdef uint32_t entry, edge = SPACE | PUNCT | EMOJI
    cdef Py_ssize_t size = 0, first = 0
    _open(text, &cursor)
    scan = cursor
    while _read(&scan) >> 24 != END:
        size += 1
    cdef uint32_t* folded = <uint32_t*>PyMem_Malloc((size + 1) * sizeof(uint32_t))
    if folded is NULL:
        raise MemoryError
    try:
        size = 0
        entry = _read(&cursor)
        while entry >> 24 != END:
            if entry >> 24 != SPACE or (size and folded[size - 1] >> 24 != SPACE):
                folded[size] = entry
                size += 1
            entry = _read(&cursor)
        if not _any_beyond(folded, size, edge):
            edge = SPACE | PUNCT
        while first < size and folded[first] >> 24 & edge:
            first += 1
        while size > first and folded[size - 1] >> 24 & edge:
            size -= 1
        for i in range(first, size):
            folded[i] &= 0xFFFFFF
        return PyUnicode_FromKindAndData(4, folded + first, size - first)
    finally:
        PyMem_Free(folded)


cdef bint _any_beyond(const uint32_t* folded, Py_ssize_t size, uint32_t edge) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        if not folded[i] >> 24 & edge:
            return True
    return False


# Keywords --------------------------------------------------------------------------------------------------------

cdef enum:
    TAKES_ARGUMENT = 1
    COURTESY = 2
    NO_RULE = -1
    # Of courtesy words on each side. More is a sentence, and a bound keeps the work linear.
    MOST_COURTESY = 8

cdef struct Node:  # children lie side by side, in the order of their characters
    uint32_t ch
    int32_t child
    int32_t children
    int32_t end
    int32_t ends

cdef struct End:  # what a complete keyword means in one table; the ends of a node are in the order of their tables
    int32_t table
    int32_t rule
    int32_t flags

cdef struct Found:  # the longest of each kind that ends where a word ends, and the place behind it
    End* keyword
    End* with_argument
    End* courtesy
    Cursor after_keyword
    Cursor after_argument
    Cursor after_courtesy


cdef inline uint32_t _skip(Cursor* cursor, uint32_t behaviours) noexcept nogil:
    """Moves to the next character that behaves otherwise, and says how."""
    cdef Cursor before = cursor[0]
    cdef uint32_t entry = _read(cursor)
    while entry >> 24 & behaviours:
        before = cursor[0]
        entry = _read(cursor)
    cursor[0] = before
    return entry >> 24


@cython.final
cdef class KeywordMatcher:
    """The keywords of many tables in one trie that never changes."""

    cdef Node* _nodes
    cdef End* _ends
    cdef Py_ssize_t _keywords

    def __cinit__(self, entries, courtesy=()):
        cdef dict words = {}
        cdef str keyword
        for keyword, table, rule, takes_argument in entries:
            if rule < 0:
                raise ValueError(f"rule {rule} of the keyword {keyword!r} is negative; number the rules from 0")
            ends = words.setdefault(_folded_keyword(keyword), {})
            end = (rule, TAKES_ARGUMENT if takes_argument else 0)
            if ends.setdefault(table, end) != end:
                raise ValueError(f"the keyword {keyword!r} has two meanings in table {table}; keep one of them")
        self._keywords = len(words)
        for keyword, table in courtesy:
            ends = words.setdefault(_folded_keyword(keyword), {})
            rule, flags = ends.get(table, (NO_RULE, 0))
            ends[table] = (rule, flags | COURTESY)
        self._build(words)

    def __dealloc__(self):
        PyMem_Free(self._nodes)
        PyMem_Free(self._ends)

    def __len__(self):
        return self._keywords

    cdef int _build(self, dict words) except -1:
        cdef list keys = sorted(words)
        self._nodes = <Node*>PyMem_Calloc(_count_nodes(keys), sizeof(Node))
        self._ends = <End*>PyMem_Calloc(sum([len(ends) for ends in words.values()]) + 1, sizeof(End))
        cdef int32_t* first_end = <int32_t*>PyMem_Malloc((len(keys) + 1) * sizeof(int32_t))
        try:
            if first_end is NULL or self._nodes is NULL or self._ends is NULL:
                raise MemoryError
            self._place_ends(keys, words, first_end)
            self._place_nodes(keys, first_end)
        finally:
            PyMem_Free(first_end)
        return 0

    cdef int _place_ends(self, list keys, dict words, int32_t* first_end) except -1:
        cdef int32_t i, placed = 0
        for i in range(len(keys)):
            first_end[i] = placed
            for table, (rule, flags) in sorted(words[keys[i]].items()):
                self._ends[placed] = End(table, rule, flags)
                placed += 1
        first_end[len(keys)] = placed
        return 0

    cdef int _place_nodes(self, list keys, const int32_t* first_end) except -1:
        """Breadth first. Until a node is reached, `child` and `children` hold the range of keys below it."""
        cdef int32_t i = 0, level_end = 1, placed = 1, depth = 0, low, high
        cdef uint32_t ch
        self._nodes[0].children = len(keys)
        while i < placed:
            if i == level_end:
                level_end = placed
                depth += 1
            low, high = self._nodes[i].child, self._nodes[i].children
            if low < high and len(<str>keys[low]) == depth:
                self._nodes[i].end = first_end[low]
                self._nodes[i].ends = first_end[low + 1] - first_end[low]
                low += 1
            self._nodes[i].child = placed
            while low < high:
                ch = ord((<str>keys[low])[depth])
                self._nodes[placed].ch = ch
                self._nodes[placed].child = low
                while low < high and ord((<str>keys[low])[depth]) == ch:
                    low += 1
                self._nodes[placed].children = low
                placed += 1
            self._nodes[i].children = placed - self._nodes[i].child
            i += 1
        return 0

    cdef inline Node* _child(self, const Node* node, uint32_t ch) noexcept nogil:
        cdef int32_t low = node.child, high = node.child + node.children, middle
        while low < high:
            middle = (low + high) >> 1
            if self._nodes[middle].ch < ch:
                low = middle + 1
            else:
                high = middle
        if low < node.child + node.children and self._nodes[low].ch == ch:
            return &self._nodes[low]
        return NULL

    cdef inline End* _end(self, const Node* node, int32_t table) noexcept nogil:
        cdef int32_t low = node.end, high = node.end + node.ends, middle
        while low < high:
            middle = (low + high) >> 1
            if self._ends[middle].table < table:
                low = middle + 1
            else:
                high = middle
        if low < node.end + node.ends and self._ends[low].table == table:
            return &self._ends[low]
        return NULL

    cdef void _find(self, Cursor cursor, int32_t table, uint32_t edge, Found* found) noexcept nogil:
        """Walks the trie from a cursor. A word ends at a space or the end of the text, characters of `edge` ignored."""
        cdef const Node* node = self._nodes
        cdef End* end
        cdef Cursor after
        cdef uint32_t entry, previous = 0
        found.keyword = found.with_argument = found.courtesy = NULL
        while True:
            entry = _read(&cursor)
            if entry >> 24 == SPACE and previous == SPACE:
                continue
            previous = entry >> 24
            node = self._child(node, entry & 0xFFFFFF) if previous != END else NULL
            if node is NULL:
                return
            end = self._end(node, table) if node.ends else NULL
            if end is NULL:
                continue
            after = cursor
            if not _skip(&after, edge) & (SPACE | END):
                continue
            if end.rule != NO_RULE:
                found.keyword, found.after_keyword = end, after
            if end.flags & TAKES_ARGUMENT:
                found.with_argument, found.after_argument = end, after
            if end.flags & COURTESY:
                found.courtesy, found.after_courtesy = end, after

    cdef bint _ends_message(self, const Found* found, int32_t table, uint32_t edge) noexcept nogil:
        """Whether behind the keyword stand only characters of `edge`, or only courtesy words."""
        cdef Cursor cursor = found.after_keyword
        cdef Found word
        cdef int courtesy_words
        if _skip(&cursor, SPACE | edge) == END:
            return True
        for courtesy_words in range(MOST_COURTESY + 1):
            if _skip(&cursor, SPACE | PUNCT | EMOJI) == END:
                return courtesy_words > 0
            self._find(cursor, table, PUNCT | EMOJI, &word)
            if word.courtesy is NULL:
                return False
            cursor = word.after_courtesy
        return False

    def match(self, str text not None, int32_t table):
        """(rule, argument) or None; the stub says what matches."""
        cdef Cursor cursor, after
        cdef Found found
        cdef End* with_argument = NULL
        cdef int courtesy_words
        _open(text, &cursor)
        for courtesy_words in range(MOST_COURTESY + 1):
            if _skip(&cursor, SPACE | PUNCT) == EMOJI:  # a keyword that is a picture, or else decoration
                self._find(cursor, table, PUNCT, &found)
                if found.keyword is not NULL and self._ends_message(&found, table, PUNCT):
                    return found.keyword.rule, None
                if courtesy_words == 0 and found.with_argument is not NULL:
                    with_argument, after = found.with_argument, found.after_argument
                _skip(&cursor, SPACE | PUNCT | EMOJI)
            self._find(cursor, table, PUNCT | EMOJI, &found)
            if found.keyword is not NULL and self._ends_message(&found, table, PUNCT | EMOJI):
                return found.keyword.rule, None
            if courtesy_words == 0 and found.with_argument is not NULL:
                with_argument, after = found.with_argument, found.after_argument
            if found.courtesy is NULL:
                break
            cursor = found.after_courtesy
        if with_argument is NULL:
            return None
        _read(&after)  # the space behind the keyword
        return with_argument.rule, text[after.next:].strip()


cdef str _folded_keyword(str keyword):
    cdef str folded = fold(keyword)
    if not folded:
        raise ValueError(f"the keyword {keyword!r} has nothing to compare; give it a letter, a digit or an emoji")
    return folded


cdef Py_ssize_t _count_nodes(list keys) except -1:
    """The nodes of a trie of sorted keys: the root, and each character not shared with the key before."""
    cdef Py_ssize_t count = 1, shared
    cdef str key, previous = ""
    for key in keys:
        shared = 0
        while shared < len(previous) and shared < len(key) and key[shared] == previous[shared]:
            shared += 1
        count += len(key) - shared
        previous = key
    return count


# Forms -----------------------------------------------------------------------------------------------------------

class TooManyFieldsError(ValueError):
    """A form with more fields than the caller allows."""


def scan_form(bytes data not None, Py_ssize_t max_fields) -> list:
    """The fields of a form body or query; the stub says how."""
    cdef const char* start = PyBytes_AS_STRING(data)
    cdef const char* stop = start + len(data)
    cdef const char* end
    cdef const char* equals
    cdef list fields = []
    cdef char* scratch = <char*>PyMem_Malloc(len(data) + 1)
    if scratch is NULL:
        raise MemoryError
    try:
        while start < stop:
            end = <const char*>memchr(start, c"&", stop - start)
            if end is NULL:
                end = stop
            if end > start:
                if len(fields) >= max_fields:
                    raise TooManyFieldsError(
                        f"the form has more than {max_fields} fields; raise the limit if it really needs them"
                    )
                equals = <const char*>memchr(start, c"=", end - start)
                if equals is NULL:
                    fields.append((_decode(start, end, scratch), ""))
                else:
                    fields.append((_decode(start, equals, scratch), _decode(equals + 1, end, scratch)))
            start = end + 1
    finally:
        PyMem_Free(scratch)
    return fields


cdef str _decode(const char* start, const char* end, char* scratch):
    """Undoes percent-encoding. `scratch` has room for end - start bytes."""
    cdef const char* at = start
    cdef Py_ssize_t size = 0
    cdef int high, low
    while at < end:
        scratch[size] = at[0]
        if at[0] & 0x80:  # not a form as anybody encodes it; what the standard library makes of that
            text = PyUnicode_DecodeUTF8(start, end - start, "replace")
            return unquote(text.replace("+", " "), errors="replace")
        if at[0] == c"+":
            scratch[size] = c" "
        elif at[0] == c"%" and end - at > 2:
            high, low = _hex_digit(at[1]), _hex_digit(at[2])
            if high >= 0 and low >= 0:
                scratch[size] = <char>(high << 4 | low)
                at += 2
        size += 1
        at += 1
    return PyUnicode_DecodeUTF8(scratch, size, "replace")


cdef inline int _hex_digit(char ch) noexcept nogil:
    if c"0" <= ch <= c"9":
        return ch - c"0"
    if c"a" <= ch | 0x20 <= c"f":
        return (ch | 0x20) - c"a" + 10
    return -1


# Phone numbers ---------------------------------------------------------------------------------------------------

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
    1: ("not_a_number", "it is not a phone number; write + and 7 to 15 digits"),
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
        return f"PhoneNumber(+{self.country_code}…{self.e164[-2:]})"

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


# Addresses -------------------------------------------------------------------------------------------------------

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


_fill(0)
_place_prefix_starts()
