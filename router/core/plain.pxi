# Texts of ASCII, read in one pass: their words as phrases are compared with them, and what they look like. Part of
# _core.pyx.
#
# A word of up to twelve letters and digits fits into a number of 63 bits, so that one lookup tells what it is.

cdef enum:
    LONGEST_PACKED = 12
    KINDS = 37  # of letters and digits, and one for none
    BEGINNING = 3  # letters; by those it is seen at once that a word is not known
    BEGINNINGS = KINDS * KINDS * KINDS // 64 + 1
    STEM_KEY = 63  # the bit that tells a stem from a word
    LETTERS = 26
    NOT_OF_WORDS = 64  # kinds of characters from here on
    DROPPED = 127
    # Flags of a word.
    BEGINS_COURTESY = 1
    IN_COURTESY = 2
    KEYWORD_OF_GROUP = 4
    WHOLE_COURTESY = 8
    MOST_COUNTED = 31  # of words

cdef struct Word:
    uint64_t key  # 0 for an empty place
    uint64_t needs[3]  # bits of the classes that need it, as first, second and third word
    int32_t token
    uint32_t flags

cdef struct Shape:  # of a text of ASCII
    int words
    int letters
    int longest  # word
    uint64_t needs[3]  # those of its words, joined
    uint64_t needs_met  # the classes of which all that they need stands in it
    bint courtesy  # whether a word stands in it that a courtesy may begin with
    bint whole_courtesy  # whether one of its words is a courtesy by itself
    int others  # words that stand in no courtesy
    bint begins_again  # whether one of those begins as the first of them does
    bint lost_letter  # whether a question mark stands inside a word
    bint split  # whether two words, together, may be a keyword

cdef uint64_t _powers[LONGEST_PACKED + 1]  # of KINDS

# Of ASCII: the letter or digit, from 1 on; else NOT_OF_WORDS and what mark it is, or DROPPED.
cdef uint8_t _kinds[128]


cdef int _place_kinds() except -1:
    cdef int ch
    _powers[0] = 1
    for ch in range(LONGEST_PACKED):
        _powers[ch + 1] = KINDS * _powers[ch]
    for ch in range(128):
        written = chr(ch).lower()
        if "a" <= written <= "z":
            _kinds[ch] = 1 + ord(written) - c"a"
        elif written.isdigit():
            _kinds[ch] = 1 + LETTERS + ch - c"0"
        else:
            _kinds[ch] = DROPPED if _behaviour(written) == DROP else NOT_OF_WORDS + _mark(ch)
    return 0


cdef uint64_t _packed(str word):
    """The key of a folded word; 0 if it has none: it is too long, or has other characters."""
    cdef uint64_t key = 0
    if len(word) > LONGEST_PACKED:
        return 0
    for ch in word:
        if ord(ch) >= 128 or _kinds[<uint32_t>ord(ch)] >= NOT_OF_WORDS:
            return 0
        key = key * KINDS + _kinds[<uint32_t>ord(ch)]
    return key


cdef inline void _join_needs(Shape* shape, const Word* word) noexcept nogil:
    shape.needs[0] |= word.needs[0]
    shape.needs[1] |= word.needs[1]
    shape.needs[2] |= word.needs[2]


cdef bint _is_number(const uint8_t* text, Py_ssize_t start, Py_ssize_t end) noexcept nogil:
    while start < end and _kinds[text[start]] > LETTERS:
        start += 1
    return start == end


@cython.final
cdef class _PlainWords:
    """The words that matter to the numbers of the same languages, for texts of ASCII."""

    cdef Word* _words
    cdef uint64_t _shift  # of a hash, so that it is a place
    cdef uint64_t _mask
    cdef uint32_t _stem_lengths  # a bit for each
    cdef uint64_t _words_begin[BEGINNINGS]  # a bit for each three letters that a word or stem begins with
    cdef uint64_t _stems_begin[BEGINNINGS]
    cdef uint64_t _long_courtesies  # a bit for each length of words that begin one and fit into no key
    cdef uint64_t _free[2]  # the classes that need no second, no third word
    cdef uint64_t _allowed[MOST_COUNTED + 1]  # by how many words there are: the classes that have no fewer
    cdef PhraseBook _book
    cdef dict _gathered

    def __cinit__(self, PhraseBook book, languages):
        self._book = book
        self._gathered = {}
        if book is not None:
            words, free, limits = book.needs_of(tuple(languages))
            for word, (token, needs) in words.items():
                self._gather(word.removesuffix("~"), token, 0, needs, word.endswith("~"))
            self._free[0], self._free[1] = free
            for count in range(MOST_COUNTED + 1):
                for number, limit in enumerate(limits):
                    if limit >= count:
                        self._allowed[count] |= <uint64_t>1 << number

    def __dealloc__(self):
        PyMem_Free(self._words)

    cdef int add_courtesy(self, str folded) except -1:
        cdef uint32_t flags = BEGINS_COURTESY | IN_COURTESY
        words = split_words(folded)
        if len(words) == 1:
            flags |= WHOLE_COURTESY
        for word in words:
            if flags & BEGINS_COURTESY and len(word) > LONGEST_PACKED:
                self._long_courtesies |= <uint64_t>1 << min(len(word), 63)
            self._gather(word, OTHER, flags, (0, 0, 0), False)
            flags = IN_COURTESY
        return 0

    cdef int add_keyword(self, str folded) except -1:
        """Adds a keyword that may be written in two words."""
        return self._gather(folded, OTHER, KEYWORD_OF_GROUP, (0, 0, 0), False)

    cdef int _gather(self, str word, int32_t token, uint32_t flags, tuple needs, bint stem) except -1:
        cdef uint64_t key = _packed(word)
        if key:
            key |= <uint64_t>stem << STEM_KEY
            known = self._gathered.get(key, (OTHER, 0, (0, 0, 0)))
            self._gathered[key] = (max(known[0], token), known[1] | flags, _either(known[2], needs))
            if len(word) >= BEGINNING:
                key = _packed(word[:BEGINNING])
                self._words_begin[key >> 6] |= <uint64_t>1 << (key & 63)
                if stem:
                    self._stems_begin[key >> 6] |= <uint64_t>1 << (key & 63)
            if stem:
                self._stem_lengths |= 1 << len(word)
        return 0

    cdef int freeze(self) except -1:
        """Called once all words are added."""
        cdef int bits = 4
        cdef uint64_t place
        while 1 << bits < 2 * len(self._gathered):
            bits += 1
        self._shift, self._mask = 64 - bits, (<uint64_t>1 << bits) - 1
        self._words = <Word*>PyMem_Calloc(<size_t>1 << bits, sizeof(Word))
        if self._words is NULL:
            raise MemoryError
        for key, (token, flags, needs) in self._gathered.items():
            place = self._place_of(key)
            self._words[place].key, self._words[place].token, self._words[place].flags = key, token, flags
            self._words[place].needs = needs
        self._gathered = None
        return 0

    cdef inline uint64_t _place_of(self, uint64_t key) noexcept nogil:
        """Where a key stands, or would."""
        cdef uint64_t place = key * <uint64_t>0x9E3779B97F4A7C15 >> self._shift
        while self._words[place].key != key and self._words[place].key != 0:
            place = place + 1 & self._mask
        return place

    cdef inline int32_t _token(self, const uint64_t* keys, Py_ssize_t length, Shape* shape) noexcept nogil:
        """The token of a word that fits into a key; OTHER for a number. `keys` are those of its beginnings."""
        cdef const Word* word
        cdef int32_t token = OTHER
        cdef Py_ssize_t stem
        if length >= BEGINNING and not self._words_begin[keys[BEGINNING] >> 6] >> (keys[BEGINNING] & 63) & 1:
            return OTHER
        word = self._words + self._place_of(keys[length])
        if word.key:
            _join_needs(shape, word)
            shape.courtesy |= (word.flags & BEGINS_COURTESY) != 0
            shape.whole_courtesy |= (word.flags & WHOLE_COURTESY) != 0
            shape.others -= (word.flags & IN_COURTESY) != 0
            token = word.token
        if token != OTHER:
            return token
        if length >= BEGINNING and not self._stems_begin[keys[BEGINNING] >> 6] >> (keys[BEGINNING] & 63) & 1:
            return OTHER
        for stem in range(length, 0, -1):
            if self._stem_lengths >> stem & 1:
                word = self._words + self._place_of(keys[stem] | <uint64_t>1 << STEM_KEY)
                if word.key:
                    _join_needs(shape, word)
                    return word.token
            if not self._stem_lengths & (1 << stem) - 1:
                break
        return OTHER

    cdef bint read(self, const uint8_t* text, Py_ssize_t length, Reading* reading, Shape* shape) noexcept nogil:
        """Reads a text of ASCII as `PhraseBook.read_tokens` does; False if it holds a character that is dropped."""
        cdef Py_ssize_t i = 0, start
        cdef uint64_t keys[16]
        cdef uint64_t first[BEGINNING + 1]  # the keys of the beginnings of the first word that stands in no courtesy
        cdef uint64_t key, joined = 0  # the key of two words together
        cdef uint8_t kind
        cdef int32_t token
        cdef int others, compared, first_letters = 0
        shape.words = shape.letters = shape.longest = shape.others = 0
        shape.needs[0] = shape.needs[1] = shape.needs[2] = 0
        shape.courtesy = shape.whole_courtesy = shape.begins_again = shape.lost_letter = shape.split = False
        _put(reading, START_OF_TEXT, 0, 0)
        while i < length:
            kind = _kinds[text[i]]
            if kind < NOT_OF_WORDS:
                start, key, others = i, 0, shape.others
                while kind < NOT_OF_WORDS:
                    key = key * KINDS + kind
                    i += 1
                    keys[i - start & 15] = key
                    if i == length:
                        break
                    kind = _kinds[text[i]]
                shape.words += 1
                shape.others += 1
                if shape.words <= 2:
                    joined = joined * _powers[min(i - start, LONGEST_PACKED)] + key
                shape.letters += i - start
                shape.longest = max(shape.longest, <int>(i - start))
                if i - start <= LONGEST_PACKED:
                    token = self._token(keys, i - start, shape)
                else:
                    token = self._long_token(text, start, i, shape)
                if token == OTHER and _kinds[text[start]] > LETTERS and _is_number(text, start, i):
                    token = NUMBER
                _put(reading, token, start, i)
                if shape.others > others:
                    compared = min(i - start, BEGINNING)
                    if i - start > LONGEST_PACKED:
                        shape.begins_again = True  # it is not told whether it is a courtesy
                    elif first_letters:
                        compared = min(compared, first_letters)
                        shape.begins_again |= keys[compared] == first[compared]
                    else:
                        first_letters = compared
                        for compared in range(1, first_letters + 1):
                            first[compared] = keys[compared]
                continue
            if kind == DROPPED:
                return False
            if kind != NOT_OF_WORDS:
                self._read_mark(text, length, i, kind - NOT_OF_WORDS, reading, shape)
            i += 1
        _end_reading(reading, length)
        if shape.words == 2:
            shape.split = shape.letters > LONGEST_PACKED or (
                self._words[self._place_of(joined)].flags & KEYWORD_OF_GROUP) != 0
        shape.needs_met = EVERY_CLASS
        if shape.words:
            shape.needs_met = self._allowed[min(shape.words, MOST_COUNTED)] & shape.needs[0] & (
                shape.needs[1] | self._free[0]) & (shape.needs[2] | self._free[1])
        return True

    cdef int32_t _long_token(
        self, const uint8_t* text, Py_ssize_t start, Py_ssize_t end, Shape* shape
    ) noexcept nogil:
        """The token of a word that fits into no key. If it is known, it asks for a closer look."""
        cdef Cursor cursor
        cdef Py_ssize_t behind
        cdef int32_t token = OTHER
        shape.courtesy |= self._long_courtesies >> min(end - start, 63) & 1
        if self._book is not None:
            cursor.kind, cursor.data, cursor.length, cursor.next, cursor.expansion_left = 1, text, end, start, 0
            token = self._book._word(&cursor, _read(&cursor) & 0xFFFFFF, &behind)
            if token >= FIRST_WORD_ID:
                shape.needs[0] = shape.needs[1] = shape.needs[2] = EVERY_CLASS
        return token

    cdef void _read_mark(
        self, const uint8_t* text, Py_ssize_t length, Py_ssize_t at, int mark, Reading* reading, Shape* shape
    ) noexcept nogil:
        cdef bint word_follows = at + 1 < length and _kinds[text[at + 1]] < NOT_OF_WORDS
        if mark == QUOTATION:
            _put(reading, QUOTE, at, at + 1)
        elif mark == QUESTION_MARK:
            _put_break(reading, QUESTION, at)
            shape.lost_letter |= word_follows and at > 0 and _kinds[text[at - 1]] < NOT_OF_WORDS
        elif mark != FULL_STOP or not word_follows:
            _put_break(reading, BREAK, at)


_place_kinds()
