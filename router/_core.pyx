"""The hot path: folding of texts, the keyword trie, form bodies and phone numbers; its parts stand in core/*.pxi.

Pure functions and tables that never change once built: no I/O, no settings, no callbacks.
"""

import re
import unicodedata
from array import array
from itertools import chain
from urllib.parse import unquote

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport (
    PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_RawCalloc, PyMem_RawFree, PyMem_RawRealloc, PyMem_Realloc,
)
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8, PyUnicode_FromKindAndData
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memchr, memcmp, memcpy, memset


cdef extern from "Python.h":
    # Cython declares these as needing the interpreter lock.
    bint PyUnicode_IS_ASCII(object text)
    int PyUnicode_KIND(object text)
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    str PyUnicode_New(Py_ssize_t length, Py_UCS4 largest)
    Py_UCS4 PyUnicode_READ(int kind, const void* data, Py_ssize_t index) noexcept nogil
    int Py_UNICODE_TODECIMAL(Py_UCS4 ch) noexcept nogil


include "core/folding.pxi"


include "core/trie.pxi"
include "core/phrases.pxi"
include "core/plain.pxi"
include "core/spelling.pxi"


# Keywords --------------------------------------------------------------------------------------------------------

cdef enum:
    # Ways in which a text is understood, in the order of `router.rules.LAYERS`.
    KEYWORD = 0
    WITH_COURTESY = 1
    FIRST_WORD = 2
    INSIDE = 3
    PHRASE = 4
    NOT_A_PERSON = 5
    LOOKALIKE = 6
    SPELLED_OUT = 7
    REPEATED = 8
    GARBLED = 9
    MISSPELLING = 10
    EVERY_LAYER = 0xFFFF
    NO = 0
    YES = 1
    UNSURE = 2
    NOWHERE = -1
    # Of courtesy words on each side. More is a sentence, and a bound keeps the work linear.
    MOST_COURTESY = 8
    # Of characters. No keyword is longer, and a bound keeps the work of building small.
    LONGEST_KEYWORD = 500
    # Of characters, for phrases. The longest message of any channel has 4,096, and a bound keeps the work of one small.
    LONGEST_READ = 32_768

cdef struct Table:  # what a number listens to: keywords of its own, and those that it shares with others
    int32_t own
    int32_t shared
    int32_t group
    uint32_t layers
    bint anywhere  # whether any of its own keywords counts anywhere in a text

cdef struct Found:  # the longest of each kind that ends where a word ends, and the place behind it
    End keyword
    End with_argument
    End courtesy
    Cursor after_keyword
    Cursor after_argument
    Cursor after_courtesy
    Py_ssize_t argument  # where it begins

cdef struct PlainFound:  # the same in a text of ASCII, with places in it
    int32_t rule  # of the keyword, or NO_RULE
    Py_ssize_t end
    Py_ssize_t behind  # and the marks behind it
    int32_t argument_rule
    Py_ssize_t argument_end
    Py_ssize_t argument
    Py_ssize_t behind_courtesy  # or NOWHERE
    bint dropped  # whether a character came that is dropped: nothing else is true then

cdef struct Hit:  # a rule, how it was found, and where
    int32_t rule
    int32_t layer
    Py_ssize_t start
    Py_ssize_t end
    Py_ssize_t argument  # where it begins, or -1


cdef inline bint _hit(Hit* hit, int32_t layer, int32_t rule, Py_ssize_t start, Py_ssize_t end) noexcept nogil:
    hit.layer, hit.rule, hit.start, hit.end, hit.argument = layer, rule, start, end, -1
    return True


cdef inline uint32_t _skip(Cursor* cursor, uint32_t behaviours) noexcept nogil:
    """Moves to the next character that behaves otherwise, and says how."""
    cdef Cursor before = cursor[0]
    cdef uint32_t entry = _read(cursor)
    while entry >> 24 & behaviours:
        before = cursor[0]
        entry = _read(cursor)
    cursor[0] = before
    return entry >> 24


cdef inline void _skip_word(Cursor* cursor) noexcept nogil:
    """Moves to the next space or picture."""
    cdef Cursor before = cursor[0]
    while not _read(cursor) >> 24 & (SPACE | EMOJI | END):
        before = cursor[0]
    cursor[0] = before


cdef inline Py_ssize_t _behind_blanks(const uint8_t* text, Py_ssize_t start, Py_ssize_t end) noexcept nogil:
    """The first place in a text of ASCII that holds no space and no punctuation."""
    while start < end and _entries[text[start]] >> 24 & (SPACE | PUNCT):
        start += 1
    return start


@cython.final
cdef class KeywordMatcher:
    """The keywords of many tables in one trie that never changes."""

    cdef Trie _trie
    cdef Table* _tables
    cdef Py_ssize_t _table_count
    cdef Py_ssize_t _keywords
    cdef PhraseBook _phrases
    cdef list _groups

    def __cinit__(self, entries, courtesy=(), *, tables=(), groups=(), phrases=None):
        cdef _TrieBuilder builder = _TrieBuilder()
        cdef str keyword, folded
        cdef int32_t scope, rule, flags
        cdef list words = []
        self._phrases = phrases
        self._groups = [_Group(languages, real_words, phrases) for languages, real_words in groups]
        self._place_tables(list(tables))
        for keyword, scope, rule, how in entries:
            if rule < 0:
                raise ValueError(f"rule {rule} of the keyword {keyword!r} is negative; number the rules from 0")
            folded = _folded_keyword(keyword)
            flags = TAKES_ARGUMENT | ANYWHERE if how == "anywhere" else TAKES_ARGUMENT if how else 0
            builder.add(folded, scope, rule, flags)
            words.append(keyword)
            if scope < 0:
                (<_Group>self._groups[-1 - scope]).add(folded, rule)
            elif flags & ANYWHERE and scope < self._table_count:
                self._tables[scope].anywhere = True
        for keyword, scope in courtesy:
            folded = _folded_keyword(keyword)
            builder.add(folded, scope, NO_RULE, COURTESY)
            if -len(self._groups) <= scope < 0:
                (<_Group>self._groups[-1 - scope]).words.add_courtesy(folded)
        for group in self._groups:
            (<_Group>group).freeze()
        cdef Py_ssize_t contradiction = builder.build(&self._trie)
        if contradiction >= 0:
            raise ValueError(
                f"the keyword {words[contradiction]!r} has two meanings in table {builder.scope_of(contradiction)}; "
                "keep one of them"
            )
        self._keywords = builder.keys

    def __dealloc__(self):
        _free_trie(&self._trie)
        PyMem_Free(self._tables)

    def __len__(self):
        return self._keywords

    def __sizeof__(self):
        return object.__sizeof__(self) + _bytes_of(&self._trie) + self._table_count * sizeof(Table)

    cdef int _place_tables(self, list tables) except -1:
        cdef Py_ssize_t i
        self._table_count = len(tables)
        self._tables = <Table*>PyMem_Calloc(len(tables) + 1, sizeof(Table))
        if self._tables is NULL:
            raise MemoryError
        for i, (group, layers) in enumerate(tables):
            self._tables[i] = Table(i, -1 - <int32_t>group, group, layers, False)
        return 0

    cdef inline const Table* _table(self, int32_t number, Table* unknown) noexcept nogil:
        """The table of a number; `unknown` filled for one that is not among `tables`: it shares nothing."""
        if 0 <= number < self._table_count:
            return self._tables + number
        unknown[0] = Table(number, number, NO_RULE, EVERY_LAYER, False)
        return unknown

    cdef inline bint _end_of(self, const Walk* walk, const Table* table, End* end) noexcept nogil:
        """Whether a key of a table ends where a walk stands: its own before those it shares."""
        if not _ends_here(walk):
            return False
        if walk.node.ends & SINGLE:
            _single_end(walk, end)
            return end.scope == table.own or end.scope == table.shared
        return _end_in(&self._trie, walk, table.own, end) or _end_in(&self._trie, walk, table.shared, end)

    cdef void _find(self, Cursor cursor, const Table* table, uint32_t edge, Found* found) noexcept nogil:
        """Walks the trie from a cursor. A word ends at a space or the end of the text, characters of `edge` ignored."""
        cdef Walk walk
        cdef End end
        cdef Cursor after
        cdef uint32_t entry, previous = 0
        found.keyword.flags = found.with_argument.flags = found.courtesy.flags = 0
        _enter(&self._trie, &walk, 0)
        while True:
            entry = _read(&cursor)
            if entry >> 24 == SPACE and previous == SPACE:
                continue
            previous = entry >> 24
            if previous == END or not _advance(&self._trie, &walk, entry & 0xFFFFFF):
                return
            if not self._end_of(&walk, table, &end):
                continue
            after = cursor
            if not _skip(&after, edge) & (SPACE | END):
                continue
            if end.rule != NO_RULE:
                found.keyword, found.after_keyword = end, cursor
            if end.flags & COURTESY:
                found.courtesy, found.after_courtesy = end, after
            if end.flags & TAKES_ARGUMENT:
                _read(&after)  # the space behind the keyword
                found.with_argument, found.after_argument, found.argument = end, cursor, after.next

    cdef int _courtesy_behind(self, const Found* found, const Table* table, uint32_t edge) noexcept nogil:
        """How many courtesy words stand behind the keyword; -1 if anything else does but characters of `edge`."""
        cdef Cursor cursor = found.after_keyword
        cdef Found word
        cdef int courtesy_words
        if _skip(&cursor, SPACE | edge) == END:
            return 0
        for courtesy_words in range(MOST_COURTESY + 1):
            if _skip(&cursor, SPACE | PUNCT | EMOJI) == END:
                return courtesy_words if courtesy_words else -1
            self._find(cursor, table, PUNCT | EMOJI, &word)
            if not word.courtesy.flags:
                return -1
            cursor = word.after_courtesy
        return -1

    cdef bint _is_whole(
        self, const Found* found, const Table* table, uint32_t edge, int courtesy_before, Py_ssize_t start, Hit* hit
    ) noexcept nogil:
        """Whether the keyword, with the courtesy words around it, is the whole text."""
        cdef int behind, layer
        if not found.keyword.flags:
            return False
        behind = self._courtesy_behind(found, table, edge)
        if behind < 0:
            return False
        layer = WITH_COURTESY if behind or courtesy_before else KEYWORD
        _hit(hit, layer, found.keyword.rule, start, found.after_keyword.next)
        return table.layers >> layer & 1

    cdef bint _whole(self, Cursor cursor, const Table* table, Hit* hit, Hit* first_word) noexcept nogil:
        """Whether the whole text is a keyword. If not, `first_word.rule` may be one that takes an argument."""
        cdef Found found
        cdef Py_ssize_t start
        cdef int courtesy_words
        first_word.rule = NO_RULE
        for courtesy_words in range(MOST_COURTESY + 1):
            if _skip(&cursor, SPACE | PUNCT) == EMOJI:  # a keyword that is a picture, or else decoration
                start = cursor.next
                self._find(cursor, table, PUNCT, &found)
                if self._is_whole(&found, table, PUNCT, courtesy_words, start, hit):
                    return True
                if courtesy_words == 0:
                    _note(&found, start, first_word)
                _skip(&cursor, SPACE | PUNCT | EMOJI)
            start = cursor.next
            self._find(cursor, table, PUNCT | EMOJI, &found)
            if self._is_whole(&found, table, PUNCT | EMOJI, courtesy_words, start, hit):
                return True
            if courtesy_words == 0:
                _note(&found, start, first_word)
            if not found.courtesy.flags:
                return False
            cursor = found.after_courtesy
        return False

    cdef void _find_plain(
        self, const uint8_t* text, Py_ssize_t start, Py_ssize_t end, const Table* table, PlainFound* found
    ) noexcept nogil:
        """`_find` for a text of ASCII, from one place to another."""
        cdef Walk walk
        cdef End meaning
        cdef Py_ssize_t i = start, behind
        cdef uint8_t code = 0
        found.rule = found.argument_rule = NO_RULE
        found.behind_courtesy = NOWHERE
        found.dropped = False
        _enter(&self._trie, &walk, 0)
        while True:
            if i < end:
                code = _plain_codes[text[i]]
                if code != NO_CODE:  # a letter or digit, and nothing ends before it
                    if not _step(&self._trie, &walk, code):
                        return
                    i += 1
                    continue
                if _entries[text[i]] >> 24 == DROP:
                    found.dropped = True
                    return
                if _entries[text[i]] >> 24 == SPACE and i > start and _entries[text[i - 1]] >> 24 == SPACE:
                    i += 1
                    continue
            if i > start and self._end_of(&walk, table, &meaning):
                behind = i
                while behind < end and _entries[text[behind]] >> 24 == PUNCT:
                    behind += 1
                if behind == end or _entries[text[behind]] >> 24 == SPACE:
                    if meaning.rule != NO_RULE:
                        found.rule, found.end, found.behind = meaning.rule, i, behind
                    if meaning.flags & COURTESY:
                        found.behind_courtesy = behind
                    if meaning.flags & TAKES_ARGUMENT and behind < end:
                        found.argument_rule, found.argument_end, found.argument = meaning.rule, i, behind + 1
                elif _entries[text[behind]] >> 24 == DROP:
                    found.dropped = True
                    return
            if i == end or not _advance(&self._trie, &walk, _entries[text[i]] & 0xFFFFFF):
                return
            i += 1

    cdef int _courtesy_behind_plain(
        self, const uint8_t* text, Py_ssize_t start, Py_ssize_t end, const Table* table, PlainFound* found
    ) noexcept nogil:
        """`_courtesy_behind` for a text of ASCII: from one place to its end."""
        cdef int courtesy_words
        for courtesy_words in range(MOST_COURTESY + 1):
            start = _behind_blanks(text, start, end)
            if start == end:
                return courtesy_words
            self._find_plain(text, start, end, table, found)
            start = found.behind_courtesy
            if found.dropped or start == NOWHERE:
                break
        return -1

    cdef int _whole_plain(
        self, const uint8_t* text, Py_ssize_t length, const Table* table, Hit* hit, Hit* first_word
    ) noexcept nogil:
        """`_whole` for a text of ASCII; UNSURE if it holds characters that are dropped, or nothing."""
        cdef PlainFound found, behind
        cdef Py_ssize_t start = _behind_blanks(text, 0, length), end = length
        cdef int before, courtesy_words, layer
        first_word.rule = NO_RULE
        while end > start and _entries[text[end - 1]] >> 24 & (SPACE | PUNCT):
            end -= 1
        if start == end:
            return UNSURE
        for before in range(MOST_COURTESY + 1):
            self._find_plain(text, start, end, table, &found)
            if found.dropped:
                return UNSURE
            if found.rule != NO_RULE:
                courtesy_words = 0
                if found.behind < end:
                    behind.dropped = False
                    courtesy_words = self._courtesy_behind_plain(text, found.behind, end, table, &behind)
                    if behind.dropped:
                        return UNSURE
                layer = WITH_COURTESY if before or courtesy_words else KEYWORD
                if courtesy_words >= 0 and table.layers >> layer & 1:
                    _hit(hit, layer, found.rule, start, found.end)
                    return YES
            if before == 0 and found.argument_rule != NO_RULE:
                first_word.rule, first_word.start = found.argument_rule, start
                first_word.end, first_word.argument = found.argument_end, found.argument
            start = found.behind_courtesy
            if start == NOWHERE:
                return NO
            start = _behind_blanks(text, start, end)
            if start == end:
                return NO
        return NO

    def match(self, str text not None, int32_t table):
        """(rule, argument) or None; the stub says what matches."""
        cdef Hit hit
        if not self._search(text, table, &hit) or hit.layer == PHRASE or hit.layer == NOT_A_PERSON:
            return None
        return hit.rule, None if hit.argument < 0 else text[hit.argument:].strip()

    def find(self, str text not None, int32_t table):
        """(layer, rule, start, end, argument) or None; the stub says more."""
        cdef Hit hit
        if not self._search(text, table, &hit):
            return None
        return hit.layer, hit.rule, hit.start, hit.end, hit.argument

    cdef bint _search(self, str text, int32_t number, Hit* hit) except -1:
        """Whether a text means anything to a table; `hit` is what."""
        cdef Table unknown
        cdef const Table* table = self._table(number, &unknown)
        cdef Cursor cursor
        cdef Hit first_word
        cdef int whole = UNSURE
        if PyUnicode_IS_ASCII(text):
            whole = self._whole_plain(<const uint8_t*>PyUnicode_DATA(text), len(text), table, hit, &first_word)
            if whole == YES:
                return True
        _open(text, &cursor)
        if table.group != NO_RULE:
            if self._search_shared(text, cursor, whole, table, &first_word, hit):
                return True
        elif whole == UNSURE and self._whole(cursor, table, hit, &first_word):
            return True
        return self._search_own(cursor, table, &first_word, hit)

    cdef bint _search_shared(
        self, str text, Cursor cursor, int whole, const Table* table, Hit* first_word, Hit* hit
    ) except -1:
        """What a text means by all that the table shares with others. `whole`: what `_whole_plain` said, or UNSURE."""
        cdef Token tokens[TOKENS_ON_STACK]
        cdef Reading reading
        cdef Shape shape
        cdef _Group group = <_Group>self._groups[table.group]
        cdef Cursor limited = cursor
        cdef bint plain, found = False
        limited.length = min(cursor.length, LONGEST_READ)
        _begin(&reading, tokens)
        # Most texts are of ASCII and hold no word that any rule needs; to see that is all that they cost.
        plain = PyUnicode_IS_ASCII(text) and group.words.read(
            <const uint8_t*>cursor.data, limited.length, &reading, &shape
        )
        if not plain or whole == UNSURE:
            found = self._whole(cursor, table, hit, first_word)
        if not found and self._phrases is not None and not (plain and not shape.needs_met):
            if not plain:
                reading.count = 0
                self._phrases.read_tokens(limited, &reading)
                shape.needs_met = EVERY_CLASS
            found = self._judge(text, &reading, table, group, shape.needs_met, hit)
        _discard(&reading, tokens)
        if reading.failed:
            raise MemoryError
        if found or cursor.length > LONGEST_DISGUISE or plain and not _may_be_disguised(&shape, group.longest):
            return found
        return self._find_disguised(text, cursor, table, group, not plain or shape.courtesy, hit)

    cdef bint _search_own(self, Cursor cursor, const Table* table, const Hit* first_word, Hit* hit) noexcept nogil:
        """A keyword of the table's own, at the beginning of a text or in it."""
        if first_word.rule != NO_RULE and table.layers >> FIRST_WORD & 1:
            hit[0] = first_word[0]
            hit.layer = FIRST_WORD
            return True
        return table.anywhere and table.layers >> INSIDE & 1 and self._find_inside(cursor, table, hit)

    cdef bint _judge(
        self, str text, const Reading* reading, const Table* table, _Group group, uint64_t needs_met, Hit* hit
    ) except -1:
        """What the phrases in a text mean."""
        cdef Span best
        cdef uint32_t sections = 1 << FOOTER, start
        if table.layers >> PHRASE & 1:
            sections |= (1 << GUARD) - 1
        if table.layers >> NOT_A_PERSON & 1:
            sections |= 1 << MACHINE
        if reading.failed or not self._phrases.find(reading, group.slots, group.languages, sections, needs_met, &best):
            return False
        start = reading.tokens[best.first].start
        if best.section == FOOTER:
            return start > 0 and self._search(text[:start], table.own, hit)
        return _hit(
            hit, NOT_A_PERSON if best.section == MACHINE else PHRASE, best.rule, start,
            reading.tokens[best.last - 1].end,
        )

    cdef bint _find_disguised(
        self, str text, Cursor cursor, const Table* table, _Group group, bint courtesy, Hit* hit
    ) except -1:
        """A reserved keyword, the whole text, that is not written as keywords are; `spelling.pxi` has the ways.

        `courtesy`: whether courtesy words may stand at its ends.
        """
        cdef Letters letters
        cdef int length
        cdef Table shared = table[0]
        cdef str other
        shared.own = shared.shared
        if not PyUnicode_IS_ASCII(text):
            other = _with_blanks(text)
            if other is not None:
                return self._search(other, table.own, hit)
            if table.layers >> LOOKALIKE & 1 and self._is_keyword(_with_latin_letters(cursor, text), &shared, hit):
                return _hit(hit, LOOKALIKE, hit.rule, hit.start, hit.end)
            if table.layers >> GARBLED & 1 and self._is_keyword(_repaired(text), &shared, hit):
                return _hit(hit, GARBLED, hit.rule, 0, len(text))
        if courtesy and not self._leave_out_courtesy(&cursor, &shared):
            return False
        if not _gather(cursor, &letters):
            return False
        if table.layers >> SPELLED_OUT & 1 and _is_spelled_out(&letters):
            if self._is_made_of(&letters, letters.count, &shared, hit):
                return _hit(hit, SPELLED_OUT, hit.rule, letters.start, letters.end)
        if table.layers >> REPEATED & 1:
            length = _period(&letters)
            if length and self._is_made_of(&letters, length, &shared, hit):
                return _hit(hit, REPEATED, hit.rule, letters.start, letters.end)
        if table.layers >> MISSPELLING & 1 and letters.words == 1:
            hit.rule = group.nearest(&letters)
            if hit.rule != NO_RULE:
                return _hit(hit, MISSPELLING, hit.rule, letters.start, letters.end)
        return False

    cdef bint _is_keyword(self, str text, const Table* table, Hit* hit) except -1:
        """Whether the whole of a text, if there is one, is a keyword."""
        cdef Cursor cursor
        cdef Hit unused
        if text is None:
            return False
        _open(text, &cursor)
        return self._whole(cursor, table, hit, &unused)

    cdef bint _leave_out_courtesy(self, Cursor* cursor, const Table* table) noexcept nogil:
        """Narrows the cursor to what is left of the text without courtesy words at its ends; False if nothing is."""
        cdef Found found
        cdef Cursor word
        cdef Py_ssize_t end
        while True:
            if _skip(cursor, SPACE | PUNCT | EMOJI) == END:
                return False
            self._find(cursor[0], table, PUNCT | EMOJI, &found)
            if not found.courtesy.flags:
                break
            cursor[0] = found.after_courtesy
        word = cursor[0]
        while True:
            _skip_word(&word)
            end = word.next
            if _skip(&word, SPACE | PUNCT | EMOJI) == END:
                return True
            found.after_keyword = word
            if self._courtesy_behind(&found, table, PUNCT | EMOJI) > 0:
                cursor.length = end
                return True

    cdef bint _is_made_of(self, const Letters* letters, int count, const Table* table, Hit* hit) noexcept nogil:
        """Whether the first letters make a keyword; its rule is noted."""
        cdef Walk walk
        cdef End end
        cdef int i
        _enter(&self._trie, &walk, 0)
        for i in range(count):
            if not _advance(&self._trie, &walk, letters.letters[i]):
                return False
        hit.rule = end.rule if self._end_of(&walk, table, &end) else NO_RULE
        return hit.rule != NO_RULE

    cdef bint _find_inside(self, Cursor cursor, const Table* table, Hit* hit) noexcept nogil:
        """The first of the table's own keywords that counts anywhere; of those that begin together, the longest."""
        cdef Found found
        cdef Py_ssize_t start
        while _skip(&cursor, SPACE | PUNCT) != END:
            start = cursor.next
            self._find(cursor, table, PUNCT | EMOJI, &found)
            if found.with_argument.flags & ANYWHERE:
                return _hit(hit, INSIDE, found.with_argument.rule, start, found.after_argument.next)
            _read(&cursor)
            _skip_word(&cursor)
        return False


cdef inline void _note(const Found* found, Py_ssize_t start, Hit* first_word) noexcept nogil:
    """Keeps a first word that takes an argument."""
    if found.with_argument.flags:
        first_word.rule, first_word.start = found.with_argument.rule, start
        first_word.end, first_word.argument = found.after_argument.next, found.argument


cdef str _folded_keyword(str keyword):
    cdef str folded = fold(keyword)
    if not folded:
        raise ValueError(f"the keyword {keyword!r} has nothing to compare; give it a letter, a digit or an emoji")
    if len(folded) > LONGEST_KEYWORD:
        raise ValueError(f"the keyword {keyword[:20]!r}… is longer than {LONGEST_KEYWORD} characters; shorten it")
    return folded


include "core/forms.pxi"
include "core/heads.pxi"
include "core/numbers.pxi"
include "core/addresses.pxi"
