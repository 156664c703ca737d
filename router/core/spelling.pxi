# Keywords that are not written as keywords are: disguised, spelled out, repeated, garbled or misspelled. Part of
# _core.pyx. Only short texts come here, and only those that are no keyword as they stand.

cdef enum:
    # Of characters; the longest reserved keyword spelled out, or a short one a dozen times.
    LONGEST_DISGUISE = 64
    WILDCARD = 0xFFFFFFFF  # a letter that was lost on the way
    SHORTEST_DRAWN_OUT = 3  # of letters that a keyword has, to be recognised as YESSS
    SHORTEST_MISSPELLED = 4
    SHORTEST_SPLIT = 4
    SHORTEST_BY_EAR = 6  # from here on, a vowel may be written for another
    SHORTEST_LENIENT = 7  # from here on, any one letter may be wrong
    SHORTEST_TWICE_WRONG = 10  # from here on, any two

# Letters that look like Latin ones: Cyrillic, Greek, Armenian, Cherokee, small capitals, letters in signs and flags.
_LATIN_LIKE = {
    "a": "аАαΑᴀᎪ🅐🅰🇦", "b": "вВβΒʙᏴ🅑🅱🇧", "c": "сСϲϹᴄᏟ🅒🅲🇨", "d": "ԁԀᴅᎠ🅓🅳🇩", "e": "еЕεΕᴇᎬ🅔🅴🇪",
    "f": "ϝϜꜰ🅕🅵🇫", "g": "ɡɢᏀ🅖🅶🇬", "h": "нНηΗһҺʜᎻ🅗🅷🇭", "i": "іІιΙɪᏆ🅘🅸🇮", "j": "јЈᴊᎫ🅙🅹🇯", "k": "кКκΚᴋᏦ🅚🅺🇰",
    "l": "ʟᏞӏӀ🅛🅻🇱", "m": "мМμΜᴍᎷ🅜🅼🇲", "n": "νΝɴ🅝🅽🇳", "o": "оОοΟᴏօՕ🅞🅾🇴", "p": "рРρΡᴘᏢ🅟🅿🇵", "q": "ԛԚ🅠🆀🇶",
    "r": "ʀᎡ🅡🆁🇷", "s": "ѕЅꜱᏚտՏ🅢🆂🇸", "t": "тТτΤᴛᎢ🅣🆃🇹", "u": "υᴜսՍ🅤🆄🇺", "v": "ᴠѵѴᏙ🅥🆅🇻", "w": "ԝԜᴡᎳ🅦🆆🇼",
    "x": "хХχΧ🅧🆇🇽", "y": "уУγΥʏү🅨🆈🇾", "z": "ᴢΖᏃ🅩🆉🇿",
}
_LATIN = {ord(like): letter for letter, likes in _LATIN_LIKE.items() for like in likes}
_INVISIBLE = re.compile("[\xad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
# UTF-8 that was read as Latin-1 or as Windows-1252.
_MISREAD = re.compile("[\xc2-\xf4][\x80-\xbf\u0152-\u2122]")
# The keys around each letter on the keyboards with qwerty, and the other places of azerty and qwertz.
_NEIGHBOURS = {
    "a": "qwsz", "b": "vghn", "c": "xdfv", "d": "erfcxs", "e": "wsdr", "f": "rtgvcd", "g": "tyhbvf", "h": "yujnbg",
    "i": "ujko", "j": "uikmnh", "k": "iolmj", "l": "opk", "m": "njkl", "n": "bhjm", "o": "iklp", "p": "ol",
    "q": "wa", "r": "edft", "s": "wedxza", "t": "rfgyz", "u": "yhjiz", "v": "cfgb", "w": "qase", "x": "zsdc",
    "y": "tghux", "z": "asxtu",
}
_DIGITS = {"0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "6": "g", "7": "t", "8": "b", "9": "g"}
cdef uint32_t _near_keys[128]  # by character: a bit for each letter that it may have been meant for

cdef struct Letters:  # the letters of a text, folded, without what stands between them
    uint32_t letters[LONGEST_DISGUISE]
    uint64_t beginnings  # of words: a bit for each letter
    int count
    int words
    int longest  # word
    Py_ssize_t start
    Py_ssize_t end

cdef struct Near:  # a keyword that may be misspelled
    uint64_t mask  # of its letters
    uint32_t at
    int32_t length
    int32_t rule
    int32_t preference  # the lower, the more


cdef int _place_near_keys() except -1:
    memset(_near_keys, 0, sizeof(_near_keys))
    for key, meant in chain(_NEIGHBOURS.items(), _DIGITS.items()):
        for letter in meant:
            _near_keys[<uint32_t>ord(key)] |= 1 << (<uint32_t>ord(letter) - c"a")
            if key > "9":
                _near_keys[<uint32_t>ord(letter)] |= 1 << (<uint32_t>ord(key) - c"a")
    return 0


cdef str _with_blanks(str text):
    """The text with its invisible characters as blanks; None if it has none."""
    return _INVISIBLE.sub(" ", text) if _INVISIBLE.search(text) else None


cdef str _with_latin_letters(Cursor cursor, str text):
    """The text with Latin letters for those that look so; None if any letter looks like none."""
    cdef Py_ssize_t i
    cdef uint32_t ch
    cdef bint any_like = False
    for i in range(cursor.length):
        ch = PyUnicode_READ(cursor.kind, cursor.data, i)
        if ch >= 128 and _entries[ch] >> 24 in (WORD, EMOJI):
            if ch not in _LATIN and _entries[ch] & 0xFFFFFF >= 128:
                return None
            any_like = True
    return text.translate(_LATIN) if any_like else None


cdef str _repaired(str text):
    """The text as it was before its UTF-8 was read as something else; None if it was not."""
    if not _MISREAD.search(text):
        return None
    for encoding in ("cp1252", "latin-1"):
        try:
            return text.encode(encoding).decode()
        except UnicodeError:
            continue
    return None


cdef bint _gather(Cursor cursor, Letters* letters) noexcept nogil:
    """Gathers the letters of a text; False if it has none or too many, or letters that are words by themselves."""
    cdef uint32_t entry, behaviour
    cdef int word = 0
    cdef Cursor after
    letters.beginnings = letters.count = letters.words = letters.longest = 0
    while True:
        entry = _read(&cursor)
        behaviour = entry >> 24
        if behaviour == END:
            return letters.count > 0
        # A lost letter inside a word came as a question mark or as U+FFFD.
        if word and (entry & 0xFFFFFF == c"?" or entry & 0xFFFFFF == 0xFFFD):
            after = cursor
            if _read(&after) >> 24 == WORD:
                entry, behaviour = WILDCARD, WORD
        if behaviour != WORD:
            word = 0
            continue
        if letters.count == LONGEST_DISGUISE or (entry != WILDCARD and _stands_alone(entry & 0xFFFFFF)):
            return False
        if word == 0:
            letters.beginnings |= <uint64_t>1 << letters.count
            letters.words += 1
            if letters.words == 1:
                letters.start = cursor.next - 1
        word += 1
        letters.longest = max(letters.longest, word)
        letters.letters[letters.count] = entry
        letters.count += 1
        letters.end = cursor.next


cdef bint _is_spelled_out(const Letters* letters) noexcept nogil:
    """Whether the letters stand one by one, as in S T O P, or a word was split, as in UN SUBSCRIBE."""
    if letters.longest == 1:
        return letters.count >= 3
    return letters.words == 2 and letters.count >= SHORTEST_SPLIT


cdef bint _may_be_disguised(const Shape* shape, int longest) noexcept nogil:
    """Whether a text of ASCII may be one of the things below; `longest` has the most letters of all keywords."""
    if shape.words == 1:
        return shape.letters >= SHORTEST_DRAWN_OUT and not shape.whole_courtesy
    if shape.begins_again or shape.lost_letter or shape.longest == 1:
        return True
    if shape.courtesy:  # single letters around which a courtesy stands
        return shape.letters <= 2 * shape.words + 2 or shape.others <= 2
    return shape.split and shape.letters <= longest


cdef int _period(const Letters* letters) noexcept nogil:
    """How many letters make the word that the text repeats; 0 if it repeats none."""
    cdef int length, i
    for length in range(3, letters.count // 2 + 1):
        if letters.count % length or (length < 4 if letters.words == 1 else not letters.beginnings >> length & 1):
            continue
        i = length
        while i < letters.count and letters.letters[i] == letters.letters[i - length]:
            i += 1
        if i == letters.count:
            return length
    return 0


cdef inline uint64_t _bit(uint32_t ch) noexcept nogil:
    if c"a" <= ch <= c"z":
        return <uint64_t>1 << (ch - c"a")
    return <uint64_t>1 << (26 + ch % 38)


cdef bint _may_stand_for(uint32_t written, uint32_t meant, int length) noexcept nogil:
    """Whether one letter is easily typed for another in a keyword of some length."""
    if length >= SHORTEST_LENIENT or written == WILDCARD:
        return True
    if written >= 128 or not c"a" <= meant <= c"z":
        return False
    if length >= SHORTEST_BY_EAR and _is_vowel(written) and _is_vowel(meant):
        return True
    return _near_keys[written] >> (meant - c"a") & 1


cdef inline bint _is_vowel(uint32_t letter) noexcept nogil:
    return letter in (c"a", c"e", c"i", c"o", c"u")


cdef bint _is_extra(const uint32_t* t, int i, int n) noexcept nogil:
    """Whether a letter came in beside another one: doubled, or its key struck together with that one's."""
    if i and (t[i] == t[i - 1] or _are_near(t[i], t[i - 1])):
        return True
    return i + 1 < n and (t[i] == t[i + 1] or _are_near(t[i], t[i + 1]))


cdef inline bint _are_near(uint32_t one, uint32_t other) noexcept nogil:
    return one < 128 and c"a" <= other <= c"z" and _near_keys[one] >> (other - c"a") & 1


cdef int _mistakes(const uint32_t* t, int n, const uint32_t* w, int m, int allowed) noexcept nogil:
    """How many mistakes make a word of the letters `w` into `t`; more than `allowed` if it takes more."""
    cdef int i = 0, found
    while i < n and i < m and t[i] == w[i]:
        i += 1
    if i == n and i == m:
        return 0
    if allowed == 0:
        return 1
    if i + 1 < n and i + 1 < m and t[i] == w[i + 1] and t[i + 1] == w[i]:  # two letters changed places
        found = _mistakes(t + i + 2, n - i - 2, w + i + 2, m - i - 2, allowed - 1)
        if found < allowed:
            return found + 1
    if i < n and i < m and _may_stand_for(t[i], w[i], m):
        found = _mistakes(t + i + 1, n - i - 1, w + i + 1, m - i - 1, allowed - 1)
        if found < allowed:
            return found + 1
    if i < n and (m >= SHORTEST_LENIENT or _is_extra(t, i, n)):  # one too many
        found = _mistakes(t + i + 1, n - i - 1, w + i, m - i, allowed - 1)
        if found < allowed:
            return found + 1
    if i < m:  # one left out
        found = _mistakes(t + i, n - i, w + i + 1, m - i - 1, allowed - 1)
        if found < allowed:
            return found + 1
    return allowed + 1


cdef bint _is_drawn_out(const uint32_t* t, int n, const uint32_t* w, int m) noexcept nogil:
    """Whether letters of the word are only repeated more often, as in STOPPPP."""
    cdef int i = 0, k
    for k in range(m):
        if i >= n or t[i] != w[k]:
            return False
        i += 1
        while i < n and t[i] == w[k] and (k + 1 == m or w[k + 1] != w[k]):
            i += 1
    return i == n


cdef inline bint _is_better(const Near* one, const Near* other) noexcept nogil:
    return other is NULL or one.preference < other.preference


cdef int _by_length(const void* one, const void* other) noexcept nogil:
    cdef const Near* a = <const Near*>one
    cdef const Near* b = <const Near*>other
    return a.length - b.length if a.length != b.length else a.preference - b.preference


@cython.final
cdef class _Group:
    """What the numbers of the same languages share besides their keywords."""

    cdef uint8_t slots[MOST_LANGUAGES]
    cdef int languages
    cdef Near* _near  # in the order of their lengths
    cdef int _count, _room
    cdef int _first[LONGEST_DISGUISE + 2]  # by length, the first as long as that or longer
    cdef int longest  # keyword, in letters
    cdef uint32_t* _letters
    cdef Py_ssize_t _used, _letters_room
    cdef frozenset _real_words
    cdef _PlainWords words

    def __cinit__(self, languages, real_words, PhraseBook phrases):
        self._real_words = real_words
        self.words = _PlainWords(phrases, languages)
        if phrases is not None:
            for language in languages:
                self.slots[self.languages] = phrases.slots[language]
                self.languages += 1

    def __dealloc__(self):
        PyMem_Free(self._near)
        PyMem_Free(self._letters)

    cdef int add(self, str keyword, int32_t rule) except -1:
        """Adds a keyword that may be misspelled, in the order in which they are preferred."""
        cdef Py_ssize_t i, length = len(keyword)
        cdef uint64_t mask = 0
        cdef uint32_t ch
        if not SHORTEST_DRAWN_OUT <= length <= LONGEST_DISGUISE:
            return 0
        for i in range(length):
            ch = keyword[i]
            if _behaviour(keyword[i]) != WORD or _stands_alone(ch):
                return 0
            mask |= _bit(ch)
        self._make_room(length)
        self.words.add_keyword(keyword)
        self.longest = max(self.longest, length)
        self._near[self._count] = Near(mask, <uint32_t>self._used, <int32_t>length, rule, self._count)
        self._count += 1
        for i in range(length):
            self._letters[self._used + i] = keyword[i]
        self._used += length
        return 0

    cdef int _make_room(self, Py_ssize_t letters) except -1:
        cdef void* memory
        if self._used + letters > self._letters_room:
            self._letters_room = 2 * self._letters_room + letters + 256
            memory = PyMem_Realloc(self._letters, self._letters_room * sizeof(uint32_t))
            if memory is NULL:
                raise MemoryError
            self._letters = <uint32_t*>memory
        if self._count == self._room:
            self._room = 2 * self._room + 16
            memory = PyMem_Realloc(self._near, self._room * sizeof(Near))
            if memory is NULL:
                raise MemoryError
            self._near = <Near*>memory
        return 0

    cdef int freeze(self) except -1:
        """Called once all keywords and courtesy words are added."""
        cdef int length, i = 0
        self.words.freeze()
        if self._count:
            qsort(self._near, self._count, sizeof(Near), _by_length)
        for length in range(LONGEST_DISGUISE + 2):
            while i < self._count and self._near[i].length < length:
                i += 1
            self._first[length] = i
        return 0

    cdef int32_t nearest(self, const Letters* letters) except -2:
        """The rule of the keyword that a word was meant to be, or NO_RULE."""
        cdef uint64_t mask = 0
        cdef int i, length = letters.count
        cdef const Near* best = NULL
        cdef bint drawn_out = False
        for i in range(length):
            if letters.letters[i] != WILDCARD:
                mask |= _bit(letters.letters[i])
            drawn_out = drawn_out or i and letters.letters[i] == letters.letters[i - 1]
        if drawn_out:
            for i in range(self._first[length]):
                if mask == self._near[i].mask and _is_better(self._near + i, best):
                    if _is_drawn_out(letters.letters, length, self._letters + self._near[i].at, self._near[i].length):
                        best = self._near + i
        best = self._near_among(letters, mask, max(length - 1, SHORTEST_MISSPELLED), length + 1, best)
        if length - 2 >= SHORTEST_TWICE_WRONG:
            best = self._near_among(letters, mask, length - 2, length - 2, best)
        if length + 2 >= SHORTEST_TWICE_WRONG:
            best = self._near_among(letters, mask, length + 2, length + 2, best)
        return NO_RULE if best is NULL or self._is_real(letters) else best.rule

    cdef const Near* _near_among(
        self, const Letters* letters, uint64_t mask, int shortest, int longest, const Near* best
    ) noexcept nogil:
        """The best of the keywords of some lengths that a word may be meant for, if it is better; `mask` is of it."""
        cdef const Near* near
        cdef int i, allowed
        for i in range(self._first[min(shortest, LONGEST_DISGUISE)], self._first[min(longest, LONGEST_DISGUISE) + 1]):
            near = self._near + i
            allowed = 2 if near.length >= SHORTEST_TWICE_WRONG else 1
            if popcount(mask ^ near.mask) <= 2 * allowed and _is_better(near, best):
                if _mistakes(letters.letters, letters.count, self._letters + near.at, near.length, allowed) <= allowed:
                    best = near
        return best

    cdef bint _is_real(self, const Letters* letters):
        cdef int i
        for i in range(letters.count):
            if letters.letters[i] == WILDCARD:
                return False
        return "".join([chr(letters.letters[i]) for i in range(letters.count)]) in self._real_words


_place_near_keys()
