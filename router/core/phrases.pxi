# Phrases: texts are read as words and marks, and rules of several words found in them. Part of _core.pyx.

cdef enum:
    # What is read besides words. The order is that of `router.language.automata.MARKS`.
    OTHER = 0  # a word that no rule names
    START_OF_TEXT = 1
    END_OF_TEXT = 2
    BREAK = 3
    QUESTION = 4
    QUOTE = 5
    PICTURE = 6
    NUMBER = 7
    FIRST_WORD_ID = 8
    # Sections of rules, in the order of `router.language.phrases.SECTIONS`.
    OPT_OUT = 0
    DOUBTFUL = 1
    GUARD = 5
    MESSAGE_GUARD = 6
    MACHINE = 7
    FOOTER = 8
    GUARDS = 1 << GUARD | 1 << MESSAGE_GUARD
    SECTIONS = 9
    NO_STATE = -1
    WORDS_ONLY = 0  # scopes of the lexicon
    STEMS = 1
    TOKENS_ON_STACK = 256
    MOST_SPANS = 64
    MOST_LANGUAGES = 64
    MOST_STATES = 32_767  # of a language; they are kept in 16 bits
    MANY_EXCEPTIONS = 16  # of a state: it gets a row for all symbols, which is read at once
    # Of ASCII characters and the first of others, for the reader.
    LINE_END = 1
    QUOTATION = 2
    SENTENCE_END = 3
    QUESTION_MARK = 4
    FULL_STOP = 5

cdef uint64_t EVERY_CLASS = ~<uint64_t>0

cdef struct Token:  # a word or mark, and where it stands
    int32_t id
    uint32_t start
    uint32_t end

cdef struct Span:  # a rule, and the tokens that it matched: from `first` to before `last`
    int32_t rule
    int32_t section
    int32_t first
    int32_t last
    int32_t language  # its place among those that were asked for

cdef struct State:
    uint64_t reach  # the bits of the rules that ask for something and can still be matched
    uint32_t first  # of its exceptions, in the order of their symbols
    uint32_t accepts  # where its pairs of section and rule begin
    uint16_t exceptions  # how many there are
    int16_t other  # where every other word leads
    int16_t full_row  # the number of its row for all symbols, or NO_STATE
    uint8_t accepted  # how many pairs there are

cdef struct Exception:
    uint16_t symbol
    int16_t target

cdef struct Automaton:  # of one language
    uint16_t* symbols  # by the id of a token
    int16_t* begins  # by the id of a token: where it leads from the beginning
    State* states
    Exception* exceptions
    int16_t* full_rows
    int32_t width  # of such a row
    int32_t* rules  # pairs of section and number of a rule

_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_QUOTES = '"“”„‟«»「」『』〝〞＂'
_SENTENCE_ENDS = "!;。।"
_QUESTION_MARKS = "?؟"
cdef uint8_t _marks[0x3100]


cdef int _place_marks() except -1:
    memset(_marks, 0, sizeof(_marks))
    for kind, written in (
        (LINE_END, _LINE_ENDS), (QUOTATION, _QUOTES), (SENTENCE_END, _SENTENCE_ENDS), (QUESTION_MARK, _QUESTION_MARKS),
        (FULL_STOP, "."),
    ):
        for mark in written:
            if ord(mark) < 0x3100:
                _marks[<uint32_t>ord(mark)] = kind
    return 0


cdef inline int _mark(uint32_t ch) noexcept nogil:
    if ch < 0x3100:
        return _marks[ch]
    return QUOTATION if ch == 0xFF02 else 0


cdef inline bint _stands_alone(uint32_t ch) noexcept nogil:
    """Whether a letter is a word: Thai, Lao, Burmese, Khmer, kana, Han."""
    if ch < 0x0E00:
        return False
    return (
        ch <= 0x0EFF or 0x1000 <= ch <= 0x109F or 0x1780 <= ch <= 0x17FF or 0x2E80 <= ch <= 0x2FDF
        or 0x3005 <= ch <= 0x3007 or 0x3021 <= ch <= 0x3029 or 0x3031 <= ch <= 0x30FF or 0x3400 <= ch <= 0x9FFF
        or 0xF900 <= ch <= 0xFAFF or 0x20000 <= ch <= 0x3FFFF
    )


cdef inline uint32_t _read_one(Cursor* cursor) noexcept nogil:
    """Like `_read`, but returns what is dropped too, so that no mark behind it is passed over."""
    cdef uint32_t entry
    if not cursor.expansion_left and cursor.next < cursor.length:
        entry = _entries[PyUnicode_READ(cursor.kind, cursor.data, cursor.next)]
        if entry >> 24 == DROP:
            cursor.next += 1
            return entry
    return _read(cursor)


cdef struct Reading:  # what `read_tokens` fills
    Token* tokens
    int32_t count
    int32_t room
    bint failed


cdef inline void _begin(Reading* reading, Token* on_stack) noexcept nogil:
    reading.tokens, reading.count, reading.room, reading.failed = on_stack, 0, TOKENS_ON_STACK, False


cdef inline void _discard(const Reading* reading, const Token* on_stack) noexcept nogil:
    if reading.tokens is not on_stack:
        PyMem_RawFree(reading.tokens)


cdef inline void _put(Reading* reading, int32_t token, Py_ssize_t start, Py_ssize_t end) noexcept nogil:
    if reading.count >= reading.room and not _grow(reading):
        return
    reading.tokens[reading.count] = Token(token, <uint32_t>start, <uint32_t>end)
    reading.count += 1


cdef bint _grow(Reading* reading) noexcept nogil:
    """Moves the tokens to more room."""
    cdef bint on_stack = reading.room == TOKENS_ON_STACK
    cdef Token* larger = <Token*>PyMem_RawRealloc(
        NULL if on_stack else reading.tokens, 4 * reading.room * sizeof(Token)
    )
    if larger is NULL:
        reading.failed = True
        return False
    if on_stack:
        memcpy(larger, reading.tokens, reading.count * sizeof(Token))
    reading.tokens = larger
    reading.room *= 4
    return True


cdef void _put_break(Reading* reading, int32_t kind, Py_ssize_t at) noexcept nogil:
    """Ends a sentence. Several marks in a row are one; a question among them makes it one."""
    cdef Token* last = reading.tokens + reading.count - 1
    if last.id == BREAK or last.id == QUESTION:
        if kind == QUESTION:
            last.id, last.end = QUESTION, <uint32_t>(at + 1)
    elif kind == QUESTION or last.id != START_OF_TEXT:
        _put(reading, kind, at, at + 1)


cdef void _end_reading(Reading* reading, Py_ssize_t length) noexcept nogil:
    """Ends the text; a break that stands last separates nothing and goes."""
    if reading.count and reading.tokens[reading.count - 1].id == BREAK:
        reading.count -= 1
    _put(reading, END_OF_TEXT, length, length)


cdef void* _zeros(Py_ssize_t count, size_t size) except NULL:
    """Memory for things of a size, all 0."""
    cdef void* memory = PyMem_RawCalloc(count + 1, size)
    if memory is NULL:
        raise MemoryError
    return memory


cdef inline bint _goes_before(const Span* one, const Span* other) noexcept nogil:
    """What begins first; then what is longest; then by the order of the languages and of the rules in their files."""
    if one.first != other.first:
        return one.first < other.first
    if one.last != other.last:
        return one.last > other.last
    if one.language != other.language:
        return one.language < other.language
    return one.rule < other.rule


cdef tuple _either(tuple masks, tuple others):
    return tuple([a | b for a, b in zip(masks, others)])


def split_words(str text not None) -> list:
    """The words and pictures of a text as phrases are compared with them; the stub says more."""
    cdef Cursor cursor
    cdef uint32_t entry
    cdef list found = []
    cdef bint open_word = False, alone
    cdef str ch
    _open(text, &cursor)
    while True:
        entry = _read(&cursor)
        if entry >> 24 == END:
            return found
        if entry >> 24 & (SPACE | PUNCT):
            open_word = False
            continue
        ch = chr(entry & 0xFFFFFF)
        alone = entry >> 24 == EMOJI or _stands_alone(entry & 0xFFFFFF)
        if open_word and not alone:
            found[-1 + len(found)] += ch
        else:
            found.append(ch)
        open_word = not alone


@cython.final
cdef class PhraseBook:
    """The rules of some languages, compiled; never changes."""

    cdef Trie _lexicon
    cdef uint64_t* _starts  # by token: a bit for each language in which a rule that asks for something begins so
    cdef Automaton _automata[MOST_LANGUAGES]
    cdef int _languages
    cdef readonly dict slots
    cdef readonly tuple rules
    cdef dict _ids
    cdef list _needs  # by slot: word → its three masks; the classes that are free of two; the limits of all
    cdef dict _joined  # what `needs_of` has found, by languages
    cdef object _kept

    def __cinit__(self, automata):
        """`automata`: `router.language.automata.Automaton`s, each of another language."""
        cdef _TrieBuilder builder = _TrieBuilder()
        cdef dict ids = {}
        cdef list rules = []
        automata = list(automata)
        if len(automata) > MOST_LANGUAGES:
            raise ValueError(f"{len(automata)} languages at once are too many; at most {MOST_LANGUAGES} can be used")
        for automaton in automata:
            for word in automaton.words:
                if word not in ids:
                    ids[word] = FIRST_WORD_ID + len(ids)
                    stem = word.endswith("~")
                    builder.add(word.removesuffix("~"), STEMS if stem else WORDS_ONLY, ids[word], 0)
        builder.build(&self._lexicon)
        self._starts = <uint64_t*>_zeros(FIRST_WORD_ID + len(ids), sizeof(uint64_t))
        self.slots = {}
        self._ids = ids
        self._joined = {}
        self._needs = []
        self._kept = []
        for automaton in automata:
            self._add(automaton, ids, len(rules))
            self.slots[automaton.language] = self._languages
            self._languages += 1
            rules.extend(automaton.rules)
        self.rules = tuple(rules)

    def __dealloc__(self):
        cdef int i
        _free_trie(&self._lexicon)
        PyMem_RawFree(self._starts)
        for i in range(MOST_LANGUAGES):
            PyMem_RawFree(self._automata[i].begins)
            PyMem_RawFree(self._automata[i].states)
            PyMem_RawFree(self._automata[i].exceptions)
            PyMem_RawFree(self._automata[i].full_rows)

    cdef tuple needs_of(self, tuple languages):
        """({word or stem: (token, three masks)}, free classes, limits): what `router.language.needs` says, joined."""
        if languages not in self._joined:
            self._joined[languages] = self._join([self._needs[self.slots[language]] for language in languages])
        return self._joined[languages]

    cdef tuple _join(self, list needs):
        cdef dict joined = {}
        cdef dict found = {}
        cdef str word, stem
        cdef Py_ssize_t length
        for masks, _, _ in needs:
            for word, bits in masks.items():
                joined[word] = _either(joined.get(word, (0, 0, 0)), bits)
        stems = {word[:len(word) - 1]: bits for word, bits in joined.items() if word.endswith("~")}
        for word, bits in joined.items():
            written = word.removesuffix("~")
            for length in range(1, len(written) + 1):
                stem = written[:length]
                if stem in stems:
                    bits = _either(bits, stems[stem])
            found[word] = (self._ids[word], bits)
        free = (0, 0)
        limits = [0] * 64
        for _, also_free, also_limits in needs:
            free = _either(free, also_free)
            for number, limit in enumerate(also_limits):
                limits[number] = max(limits[number], limit)
        return found, free, limits

    cdef int _add(self, automaton, dict ids, int32_t first_rule) except -1:
        cdef Automaton* made = &self._automata[self._languages]
        symbols = array("H", automaton.symbols(ids, FIRST_WORD_ID))
        rules = array("i", automaton.accepted)
        for index in range(1, len(rules), 2):
            rules[index] += first_rule
        self._kept.append((symbols, rules))  # they own the memory that is pointed to
        made.symbols = <uint16_t*><Py_ssize_t>symbols.buffer_info()[0]
        made.rules = <int32_t*><Py_ssize_t>rules.buffer_info()[0]
        masks = zip(automaton.masks[::3], automaton.masks[1::3], automaton.masks[2::3])
        self._needs.append((dict(zip(automaton.words, masks)), tuple(automaton.free), tuple(automaton.limits)))
        self._place_states(automaton, made)
        self._place_full_rows(automaton, made)
        cdef int32_t token
        cdef int32_t tokens = FIRST_WORD_ID + <int32_t>len(ids)
        made.begins = <int16_t*>_zeros(tokens, sizeof(int16_t))
        for token in range(tokens):
            made.begins[token] = self._next(made, 0, token)
            if made.begins[token] != NO_STATE and made.states[made.begins[token]].reach:
                self._starts[token] |= <uint64_t>1 << self._languages
        return 0

    cdef int _place_states(self, automaton, Automaton* made) except -1:
        cdef const int32_t[::1] rows = automaton.rows, targets = automaton.targets, accepts = automaton.accepts
        cdef const int32_t[::1] others = automaton.others
        cdef const uint16_t[::1] symbols = automaton.exceptions
        cdef const uint64_t[::1] reach = automaton.reach
        cdef Py_ssize_t i
        if len(others) > MOST_STATES:
            raise ValueError(f"the rules of {automaton.language} need {len(others)} states; {MOST_STATES} can be used")
        made.states = <State*>_zeros(len(others), sizeof(State))
        made.exceptions = <Exception*>_zeros(len(targets), sizeof(Exception))
        for i in range(len(targets)):
            made.exceptions[i].symbol, made.exceptions[i].target = symbols[i], targets[i]
        for i in range(len(others)):
            made.states[i].first, made.states[i].exceptions = rows[i], rows[i + 1] - rows[i]
            made.states[i].accepts, made.states[i].accepted = accepts[i], accepts[i + 1] - accepts[i]
            made.states[i].other, made.states[i].full_row, made.states[i].reach = others[i], NO_STATE, reach[i]
        return 0

    cdef int _place_full_rows(self, automaton, Automaton* made) except -1:
        cdef int32_t state, symbol, states = len(automaton.others), count = 0
        cdef Exception* exception
        cdef int16_t* row
        made.width = max(automaton.symbol_of.values()) + 1
        for state in range(states):
            if made.states[state].exceptions >= MANY_EXCEPTIONS:
                made.states[state].full_row = count
                count += 1
        made.full_rows = <int16_t*>_zeros(count * made.width, sizeof(int16_t))
        for state in range(states):
            if made.states[state].full_row == NO_STATE:
                continue
            row = made.full_rows + made.states[state].full_row * made.width
            for symbol in range(made.width):
                row[symbol] = made.states[state].other if symbol == OTHER or symbol >= NUMBER else NO_STATE
            exception = made.exceptions + made.states[state].first
            for symbol in range(made.states[state].exceptions):
                row[exception[symbol].symbol] = exception[symbol].target
        return 0

    cdef inline int32_t _next(self, const Automaton* automaton, int32_t state, int32_t token) noexcept nogil:
        """Where a token leads from a state."""
        cdef const State* here = automaton.states + state
        cdef uint16_t symbol = automaton.symbols[token]
        if here.full_row != NO_STATE:
            return automaton.full_rows[here.full_row * automaton.width + symbol]
        cdef const Exception* exception = automaton.exceptions + here.first
        cdef const Exception* end = exception + here.exceptions
        while exception < end and exception.symbol < symbol:
            exception += 1
        if exception < end and exception.symbol == symbol:
            return exception.target
        if symbol == OTHER or symbol >= NUMBER:
            return here.other
        return NO_STATE

    cdef int32_t _word(self, Cursor* cursor, uint32_t ch, Py_ssize_t* end) noexcept nogil:
        """The id of the word that begins with a folded character already read; moves the cursor behind it."""
        cdef Walk walk
        cdef Cursor before
        cdef End found
        cdef uint32_t entry
        cdef int32_t stem = OTHER
        cdef bint digits = True, alone = _stands_alone(ch), alive = True
        _enter(&self._lexicon, &walk, 0)
        while True:
            digits = digits and c"0" <= ch <= c"9"
            if alive:
                alive = _advance(&self._lexicon, &walk, ch)
                if alive and _ends_here(&walk) and _end_in(&self._lexicon, &walk, STEMS, &found):
                    stem = found.rule
            end[0] = cursor.next
            if alone:
                break
            before = cursor[0]
            entry = _read_one(cursor)
            while entry >> 24 == DROP:
                entry = _read_one(cursor)
            ch = entry & 0xFFFFFF
            if entry >> 24 != WORD or _stands_alone(ch):
                cursor[0] = before
                break
        if alive and _ends_here(&walk) and _end_in(&self._lexicon, &walk, WORDS_ONLY, &found):
            return found.rule
        if stem != OTHER:
            return stem
        return NUMBER if digits else OTHER

    cdef void read_tokens(self, Cursor cursor, Reading* reading) noexcept nogil:
        """All words and marks of a text."""
        cdef uint32_t entry, ch
        cdef Py_ssize_t at, end
        cdef int mark
        cdef int32_t token
        _put(reading, START_OF_TEXT, 0, 0)
        while not reading.failed:
            if not cursor.expansion_left:
                if cursor.next >= cursor.length:
                    break
                mark = _mark(PyUnicode_READ(cursor.kind, cursor.data, cursor.next))
                if mark == LINE_END or mark == QUOTATION:
                    if mark == LINE_END:
                        _put_break(reading, BREAK, cursor.next)
                    else:
                        _put(reading, QUOTE, cursor.next, cursor.next + 1)
                    cursor.next += 1
                    continue
            entry = _read_one(&cursor)
            ch = entry & 0xFFFFFF
            at = cursor.next - 1
            if entry >> 24 == WORD:
                token = self._word(&cursor, ch, &end)
                _put(reading, token, at, end)
            elif entry >> 24 == PUNCT:
                mark = _mark(ch)
                if mark == QUESTION_MARK:
                    _put_break(reading, QUESTION, at)
                elif mark == SENTENCE_END or (mark == FULL_STOP and not self._word_follows(&cursor)):
                    _put_break(reading, BREAK, at)
            elif entry >> 24 == EMOJI:
                _put(reading, self._picture(ch), at, at + 1)
            elif entry >> 24 == END:
                break
        _end_reading(reading, cursor.length)

    cdef int32_t _picture(self, uint32_t ch) noexcept nogil:
        """The id of a picture."""
        cdef Walk walk
        cdef End found
        _enter(&self._lexicon, &walk, 0)
        if _advance(&self._lexicon, &walk, ch) and _ends_here(&walk):
            if _end_in(&self._lexicon, &walk, WORDS_ONLY, &found):
                return found.rule
        return PICTURE

    cdef inline bint _word_follows(self, const Cursor* cursor) noexcept nogil:
        """Whether the character behind a full stop belongs to a word, as in 9.30."""
        cdef uint32_t entry
        if cursor.next >= cursor.length:
            return False
        entry = _entries[PyUnicode_READ(cursor.kind, cursor.data, cursor.next)]
        if entry >> 24 == EXPANDS:
            entry = _expansions[entry >> 8 & 0xFFFF]
        return entry >> 24 == WORD

    cdef void _spans_from(
        self, const Reading* reading, int slot, int language, int32_t start, uint32_t sections, uint64_t needs_met,
        Span* spans, int* count
    ) noexcept nogil:
        """Adds what matches from a token on, if it is of one of the sections (a bit for each).

        A rule whose needs are not met is not looked for, unless it is a guard.
        """
        cdef const Automaton* automaton = &self._automata[slot]
        cdef int32_t state = automaton.begins[reading.tokens[start].id], last = start, place, first, end
        cdef const State* here
        while state != NO_STATE:
            here = automaton.states + state
            if not (here.reach & needs_met or sections & GUARDS):
                return
            for place in range(here.accepts, here.accepts + here.accepted):
                if not sections >> automaton.rules[2 * place] & 1 or count[0] >= MOST_SPANS:
                    continue
                first, end = start, last + 1
                while first < end - 1 and not self._is_written(reading.tokens[first].id):
                    first += 1
                while end > first + 1 and not self._is_written(reading.tokens[end - 1].id):
                    end -= 1
                spans[count[0]] = Span(automaton.rules[2 * place + 1], automaton.rules[2 * place], first, end, language)
                count[0] += 1
            last += 1
            if last == reading.count:
                return
            state = self._next(automaton, state, reading.tokens[last].id)

    cdef inline bint _is_written(self, int32_t token) noexcept nogil:
        """Whether a token is a word or a picture."""
        return token == OTHER or token >= PICTURE

    cdef inline bint _may_begin(self, const Automaton* automaton, int32_t token, uint64_t needs_met) noexcept nogil:
        """Whether a rule that asks for something, with its needs met, may begin with a token."""
        cdef int32_t state = automaton.begins[token]
        return state != NO_STATE and automaton.states[state].reach & needs_met

    cdef bint find(
        self, const Reading* reading, const uint8_t* slots, int languages, uint32_t sections, uint64_t needs_met,
        Span* best
    ) noexcept nogil:
        """The rule that counts, if there is one of the sections (a bit for each).

        `slots` are the languages in the order of their importance, `needs_met` the classes of `router.language.needs`.
        """
        cdef Span spans[MOST_SPANS]
        cdef Span guards[MOST_SPANS]
        cdef int count = 0, guarded = 0, i, k
        cdef int32_t section, start
        cdef uint64_t spoken = 0
        for i in range(languages):
            spoken |= <uint64_t>1 << slots[i]
        for start in range(reading.count):
            if self._starts[reading.tokens[start].id] & spoken:
                for i in range(languages):
                    if self._may_begin(&self._automata[slots[i]], reading.tokens[start].id, needs_met):
                        self._spans_from(reading, slots[i], i, start, sections, needs_met, spans, &count)
        if count == 0:
            return False
        if self._first(spans, count, MACHINE, NULL, 0, best) or self._first(spans, count, FOOTER, NULL, 0, best):
            return True
        for start in range(reading.count):
            for i in range(languages):
                self._spans_from(reading, slots[i], i, start, GUARDS, 0, guards, &guarded)
        for k in range(guarded):
            if guards[k].section == MESSAGE_GUARD:
                return False
        for section in range(GUARD):
            if self._first(spans, count, section, guards, guarded, best):
                return True
        return False

    cdef bint _first(
        self, const Span* spans, int count, int32_t section, const Span* guards, int guarded, Span* best
    ) noexcept nogil:
        """The first span of a section that shares no word with a guard; of those that begin together, the longest."""
        cdef bint found = False, free
        cdef int i, k
        for i in range(count):
            if spans[i].section != section:
                continue
            if found and not _goes_before(&spans[i], best):
                continue
            free = True
            for k in range(guarded):
                if guards[k].first < spans[i].last and spans[i].first < guards[k].last:
                    free = False
                    break
            if free:
                best[0] = spans[i]
                found = True
        return found

    def read(self, str text not None, languages):
        """(rule, start, end) of the phrase that counts in a text, or None; start and end are places in the text."""
        cdef Token tokens[TOKENS_ON_STACK]
        cdef Reading reading
        cdef uint8_t slots[MOST_LANGUAGES]
        cdef Cursor cursor
        cdef Span best
        cdef int i
        cdef bint found = False
        for i, language in enumerate(languages):
            slots[i] = self.slots[language]
        _open(text, &cursor)
        _begin(&reading, tokens)
        self.read_tokens(cursor, &reading)
        try:
            if reading.failed:
                raise MemoryError
            found = self.find(&reading, slots, len(languages), ~GUARDS, EVERY_CLASS, &best)
            if not found:
                return None
            return best.rule, reading.tokens[best.first].start, reading.tokens[best.last - 1].end
        finally:
            _discard(&reading, tokens)


_place_marks()
