"""The hot path: folding of texts, the keyword trie, form bodies and phone numbers; its parts stand in core/*.pxi.

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


include "core/folding.pxi"


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


include "core/forms.pxi"
include "core/numbers.pxi"
include "core/addresses.pxi"
