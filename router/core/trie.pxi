# The trie that keywords and the words of phrases are kept in. Part of _core.pyx.
#
# It is a trie of codes of 6 bits, so that the children of a node fit into one word of 64 bits: a letter, digit or mark
# that keywords are mostly made of is one code, a letter of the European and Semitic scripts two, any other five.
# A node that leads to a single key holds the rest of it as a tail.

cdef extern from *:
    int popcount "__builtin_popcountll"(uint64_t) noexcept nogil

cdef enum:
    NO_CODE = 0xFF
    TWO_CODES = 48  # the first of those that begin two
    FIVE_CODES = 63
    FIRST_OF_TWO = 0x370  # Greek; then come Cyrillic, Armenian, Hebrew, Arabic and Syriac
    MOST_CODES = 5
    # Of an End:
    TAKES_ARGUMENT = 1
    COURTESY = 2
    ANYWHERE = 4
    COUNT_SHIFT = 8  # above it, in the first end of a key: how many there are
    NO_RULE = -1

cdef uint8_t _single_codes[128]

cdef struct Node:
    uint64_t children  # a bit for each code that leads on; none in a node with a tail
    uint32_t below  # the first child, or where the tail stands among the tails
    uint32_t ends  # one more than the place of the first end of the keys that end here, behind the tail; or 0

cdef struct End:  # what a complete key means in one scope; those of a key lie together, in the order of their scopes
    int32_t scope
    int32_t rule
    int32_t flags

cdef struct Trie:
    Node* nodes
    End* ends
    uint8_t* tails  # each with its length before it
    Py_ssize_t bytes

cdef struct Walk:  # a place in a trie
    const Node* node
    const uint8_t* tail
    uint32_t left  # of the tail

cdef struct Entry:  # a key to build a trie of, and one of its ends
    const uint8_t* key
    Py_ssize_t at
    uint32_t length
    int32_t number
    End end


cdef int _place_single_codes() except -1:
    memset(_single_codes, NO_CODE, sizeof(_single_codes))
    for code, letter in enumerate("abcdefghijklmnopqrstuvwxyz0123456789 '-.&+#@/*!?"):
        _single_codes[<uint8_t>ord(letter)] = code
    return 0


cdef inline int _encode(uint32_t ch, uint8_t* codes) noexcept nogil:
    """Writes the codes of a folded character and returns how many they are."""
    if ch < 128 and _single_codes[ch] != NO_CODE:
        codes[0] = _single_codes[ch]
        return 1
    cdef uint32_t letter = ch - FIRST_OF_TWO
    if letter < (FIVE_CODES - TWO_CODES) << 6:
        codes[0] = TWO_CODES + (letter >> 6)
        codes[1] = letter & 63
        return 2
    codes[0] = FIVE_CODES
    codes[1] = ch >> 18
    codes[2] = ch >> 12 & 63
    codes[3] = ch >> 6 & 63
    codes[4] = ch & 63
    return 5


cdef inline bint _step(const Trie* trie, Walk* walk, uint32_t code) noexcept nogil:
    """Follows one code; False if it leads nowhere."""
    if walk.left:
        walk.left -= 1
        walk.tail += 1
        return (walk.tail - 1)[0] == code
    cdef uint64_t bit = <uint64_t>1 << code
    if not walk.node.children & bit:
        return False
    walk.node = trie.nodes + walk.node.below + popcount(walk.node.children & (bit - 1))
    if not walk.node.children:
        walk.tail = trie.tails + walk.node.below
        walk.left = walk.tail[0]
        walk.tail += 1
    return True


cdef inline bint _advance(const Trie* trie, Walk* walk, uint32_t ch) noexcept nogil:
    """Follows one folded character."""
    cdef uint8_t codes[MOST_CODES]
    cdef int i, count
    if ch < 128 and _single_codes[ch] != NO_CODE:
        return _step(trie, walk, _single_codes[ch])
    count = _encode(ch, codes)
    for i in range(count):
        if not _step(trie, walk, codes[i]):
            return False
    return True


cdef inline const End* _ends_here(const Trie* trie, const Walk* walk) noexcept nogil:
    """The first end of the key that leads here, or NULL."""
    if walk.left or not walk.node.ends:
        return NULL
    return trie.ends + walk.node.ends - 1


cdef inline const End* _end_in(const End* first, int32_t scope) noexcept nogil:
    """The end of a key in one scope, or NULL."""
    cdef int32_t low = 0, high, middle
    if first is NULL:
        return NULL
    high = first.flags >> COUNT_SHIFT
    while low < high:
        middle = (low + high) >> 1
        if first[middle].scope < scope:
            low = middle + 1
        else:
            high = middle
    return first + low if low < first.flags >> COUNT_SHIFT and first[low].scope == scope else NULL


cdef int _by_key_and_scope(const void* one, const void* other) noexcept nogil:
    cdef const Entry* a = <const Entry*>one
    cdef const Entry* b = <const Entry*>other
    cdef int order = memcmp(a.key, b.key, min(a.length, b.length))
    if order:
        return order
    if a.length != b.length:
        return -1 if a.length < b.length else 1
    if a.end.scope != b.end.scope:
        return -1 if a.end.scope < b.end.scope else 1
    return -1 if a.number < b.number else 1


@cython.final
cdef class _TrieBuilder:
    """Gathers keys, then makes a trie of them without holding the interpreter lock."""

    cdef uint8_t* _keys
    cdef Py_ssize_t _used, _room
    cdef Entry* _entries
    cdef Py_ssize_t _count, _entries_room
    cdef readonly Py_ssize_t keys  # that have a rule; known once the trie is built

    def __dealloc__(self):
        PyMem_RawFree(self._keys)
        PyMem_RawFree(self._entries)

    cdef int add(self, str folded, int32_t scope, int32_t rule, int32_t flags) except -1:
        """Adds a key that is folded already."""
        cdef Py_ssize_t i, length = len(folded), start = self._used
        cdef int kind = PyUnicode_KIND(folded)
        cdef const void* data = PyUnicode_DATA(folded)
        self._make_room(length * MOST_CODES)
        for i in range(length):
            self._used += _encode(PyUnicode_READ(kind, data, i), self._keys + self._used)
        cdef Entry* entry = self._entries + self._count
        entry.at, entry.length, entry.number = start, self._used - start, self._count
        entry.end = End(scope, rule, flags)
        self._count += 1
        return 0

    cdef int32_t scope_of(self, Py_ssize_t number) noexcept:
        """The scope of the entry of a number."""
        cdef Py_ssize_t i
        for i in range(self._count):
            if self._entries[i].number == number:
                return self._entries[i].end.scope
        return NO_RULE

    cdef int _make_room(self, Py_ssize_t codes) except -1:
        cdef void* memory
        if self._used + codes > self._room:
            self._room = 2 * self._room + codes + 1024
            memory = PyMem_RawRealloc(self._keys, self._room)
            if memory is NULL:
                raise MemoryError
            self._keys = <uint8_t*>memory
        if self._count >= self._entries_room:
            self._entries_room = 2 * self._entries_room + 64
            memory = PyMem_RawRealloc(self._entries, self._entries_room * sizeof(Entry))
            if memory is NULL:
                raise MemoryError
            self._entries = <Entry*>memory
        return 0

    cdef Py_ssize_t build(self, Trie* trie) except -2:
        """Fills an empty trie. -1, or the number of the first entry that contradicts one before it."""
        cdef Py_ssize_t contradiction = -1, nodes = 0, tails = 0
        cdef Py_ssize_t i
        with nogil:
            for i in range(self._count):
                self._entries[i].key = self._keys + self._entries[i].at
            if self._count:
                qsort(self._entries, self._count, sizeof(Entry), _by_key_and_scope)
            contradiction = self._merge()
            if contradiction < 0:
                self._measure(0, self._count, 0, &nodes, &tails)
        if contradiction >= 0:
            return contradiction
        trie.nodes = <Node*>PyMem_RawCalloc(nodes + 1, sizeof(Node))
        trie.ends = <End*>PyMem_RawCalloc(self._count + 1, sizeof(End))
        trie.tails = <uint8_t*>PyMem_RawCalloc(tails + 1, 1)
        if trie.nodes is NULL or trie.ends is NULL or trie.tails is NULL:
            raise MemoryError
        trie.bytes = (nodes + 1) * sizeof(Node) + (self._count + 1) * sizeof(End) + tails + 1
        with nogil:
            nodes = tails = 1
            self._place(trie, trie.nodes, 0, self._count, 0, &nodes, &tails)
            self._place_ends(trie)
        return -1

    cdef Py_ssize_t _merge(self) noexcept nogil:
        """Joins what stands twice; the number of an entry that has another rule than its twin, else -1."""
        cdef Py_ssize_t i, kept = 0
        cdef Entry* last = NULL
        cdef Entry* entry
        for i in range(self._count):
            entry = self._entries + i
            if i and self._same_key(last, entry) and last.end.scope == entry.end.scope:
                if last.end.rule == NO_RULE:
                    last.end.rule = entry.end.rule
                elif entry.end.rule not in (NO_RULE, last.end.rule):
                    return entry.number
                last.end.flags |= entry.end.flags
                continue
            last = self._entries + kept
            last[0] = entry[0]
            kept += 1
        self._count = kept
        return -1

    cdef inline bint _same_key(self, const Entry* a, const Entry* b) noexcept nogil:
        return a.length == b.length and memcmp(a.key, b.key, a.length) == 0

    cdef Py_ssize_t _next_key(self, Py_ssize_t i, Py_ssize_t high) noexcept nogil:
        cdef Py_ssize_t first = i
        i += 1
        while i < high and self._same_key(self._entries + first, self._entries + i):
            i += 1
        return i

    cdef void _measure(
        self, Py_ssize_t low, Py_ssize_t high, uint32_t depth, Py_ssize_t* nodes, Py_ssize_t* tails
    ) noexcept nogil:
        """Counts the nodes below a place that the keys from `low` to `high` share, and the bytes of their tails."""
        cdef Py_ssize_t i
        cdef uint8_t code
        if low < high and self._entries[low].length == depth:
            low = self._next_key(low, high)
        while low < high:
            code = self._entries[low].key[depth]
            i = low
            while i < high and self._entries[i].key[depth] == code:
                i += 1
            nodes[0] += 1
            if self._is_single(low, i, depth + 1):
                tails[0] += 1 + self._entries[low].length - depth - 1
            else:
                self._measure(low, i, depth + 1, nodes, tails)
            low = i

    cdef inline bint _is_single(self, Py_ssize_t low, Py_ssize_t high, uint32_t depth) noexcept nogil:
        """Whether the entries are all of one key whose rest fits into a tail."""
        return self._next_key(low, high) == high and self._entries[low].length - depth < 256

    cdef void _place(
        self, Trie* trie, Node* node, Py_ssize_t low, Py_ssize_t high, uint32_t depth, Py_ssize_t* nodes,
        Py_ssize_t* tails
    ) noexcept nogil:
        """Fills a node and all below it. Until `_place_ends`, `ends` is one more than the place of an entry."""
        cdef Py_ssize_t i, child
        cdef uint8_t code
        cdef uint32_t rest
        if low < high and self._entries[low].length == depth:
            node.ends = low + 1
            low = self._next_key(low, high)
        node.below = nodes[0]
        i = low
        while i < high:
            code = self._entries[i].key[depth]
            node.children |= <uint64_t>1 << code
            while i < high and self._entries[i].key[depth] == code:
                i += 1
        nodes[0] += popcount(node.children)
        child = node.below
        while low < high:
            code = self._entries[low].key[depth]
            i = low
            while i < high and self._entries[i].key[depth] == code:
                i += 1
            if self._is_single(low, i, depth + 1):
                rest = self._entries[low].length - depth - 1
                trie.nodes[child].ends = low + 1
                trie.nodes[child].below = tails[0]
                trie.tails[tails[0]] = rest
                memcpy(trie.tails + tails[0] + 1, self._entries[low].key + depth + 1, rest)
                tails[0] += rest + 1
            else:
                self._place(trie, trie.nodes + child, low, i, depth + 1, nodes, tails)
            child += 1
            low = i

    cdef void _place_ends(self, Trie* trie) noexcept nogil:
        cdef Py_ssize_t i, first = 0, counted = -1
        for i in range(self._count):
            trie.ends[i] = self._entries[i].end
            if i and not self._same_key(self._entries + i - 1, self._entries + i):
                trie.ends[first].flags |= (i - first) << COUNT_SHIFT
                first = i
            if self._entries[i].end.rule != NO_RULE and counted != first:
                self.keys += 1
                counted = first
        if self._count:
            trie.ends[first].flags |= (self._count - first) << COUNT_SHIFT


cdef void _free_trie(Trie* trie) noexcept:
    PyMem_RawFree(trie.nodes)
    PyMem_RawFree(trie.ends)
    PyMem_RawFree(trie.tails)


_place_single_codes()
