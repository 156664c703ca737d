# Folding: the form in which texts and keywords are compared. Part of _core.pyx.

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


_fill(0)
