# The trie that keywords and the words of phrases are kept in. Part of _core.pyx.
#
# It is a trie of codes of 6 bits, so that the children of a node fit into one word of 64 bits: a letter, digit or mark
# that keywords are mostly made of is one code, a letter of the European and Semitic scripts two, any other five.
# Where only one way leads on, a node holds up to ten codes of it in place of its children. What a key means stands in
# its last node if it means it in one scope only, so that a lookup reads little memory beside the nodes it walks.

cdef extern from *:
    """
    #include <stdlib.h>
    #include <sys/mman.h>
    static void *router_large_alloc(size_t bytes) {
        void *memory = NULL;
        if (posix_memalign(&memory, 1 << 21, bytes)) return NULL;
    #ifdef MADV_HUGEPAGE
        (void)madvise(memory, bytes, MADV_HUGEPAGE);
    #endif
        return memory;
    }
    """
    int popcount "__builtin_popcountll"(uint64_t) noexcept nogil
    void* large_alloc "router_large_alloc"(size_t bytes) noexcept nogil

cdef enum:
    NO_CODE = 0xFF
    TWO_CODES = 48  # the first of those that begin two
    FIVE_CODES = 63
    FIRST_OF_TWO = 0x370  # Greek; then come Cyrillic, Armenian, Hebrew, Arabic and Syriac
    MOST_CODES = 5
    COMPARED_AT_ONCE = 9  # codes, in 63 bits
    LONGEST_PATH = 10  # codes
    LENGTH_SHIFT = 60  # above it, in the codes of a path: how many there are
    LARGE = 1 << 22  # bytes; from here on nodes are kept in large pages, which costs fewer misses
    # Of an End:
    TAKES_ARGUMENT = 1
    COURTESY = 2
    ANYWHERE = 4
    PRESENT = 8
    COUNT_SHIFT = 8  # above it, in the first end of a key: how many there are
    NO_RULE = -1
    # Of the ends of a node:
    PATH = 0x80000000
    SINGLE = 0x40000000
    END_PLACE = SINGLE - 1
    SCOPE_SHIFT = 3  # above it, in the ends of a node with SINGLE: the scope; below it the flags
    MIDDLE_SCOPE = 1 << 26

cdef uint8_t _single_codes[128]
# Of letters and digits of ASCII as they are written, the codes of what they are folded to; of others NO_CODE.
cdef uint8_t _plain_codes[128]

cdef struct Node:
    uint64_t codes  # with PATH the codes that lead on, the first lowest; else a bit for each child
    uint32_t below  # the first child, or the node behind the path, or 0; with SINGLE the rule
    uint32_t ends  # flags; with SINGLE scope and flags of the end, else one more than the place of the first end, or 0

cdef struct End:  # what a complete key means in one scope; those of a key lie together, in the order of their scopes
    int32_t scope
    int32_t rule
    int32_t flags

cdef struct Trie:
    Node* nodes
    End* ends
    uint32_t node_count
    uint32_t end_count

cdef struct Walk:  # a place in a trie
    const Node* node
    uint64_t codes  # what is left of the path, or a bit for each child
    uint32_t left  # of the path

cdef struct Entry:  # a key to build a trie of, and one of its ends
    uint64_t beginning  # the first codes of the key, made to be compared
    const uint8_t* key
    Py_ssize_t at
    uint32_t length
    int32_t number
    End end


cdef int _place_single_codes() except -1:
    memset(_single_codes, NO_CODE, sizeof(_single_codes))
    for code, letter in enumerate("abcdefghijklmnopqrstuvwxyz0123456789 '-.&+#@/*!?"):
        _single_codes[<uint8_t>ord(letter)] = code
    for written in range(128):
        _plain_codes[<int>written] = NO_CODE
        if chr(written).isalnum():
            _plain_codes[<int>written] = _single_codes[<uint8_t>ord(chr(written).lower())]
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


cdef inline void _enter(const Trie* trie, Walk* walk, uint32_t place) noexcept nogil:
    """Moves to a node."""
    walk.node = trie.nodes + place
    walk.codes, walk.left = walk.node.codes, 0
    if walk.node.ends & PATH:
        walk.left = walk.codes >> LENGTH_SHIFT
        walk.codes &= (<uint64_t>1 << LENGTH_SHIFT) - 1


cdef inline bint _step(const Trie* trie, Walk* walk, uint32_t code) noexcept nogil:
    """Follows one code; False if it leads nowhere."""
    cdef uint64_t bit
    if walk.left:
        if walk.codes & 63 != code:
            return False
        walk.codes >>= 6
        walk.left -= 1
        if walk.left == 0 and walk.node.below and not walk.node.ends & SINGLE:
            _enter(trie, walk, walk.node.below)
        return True
    bit = <uint64_t>1 << code
    if not walk.codes & bit:
        return False
    _enter(trie, walk, walk.node.below + popcount(walk.codes & (bit - 1)))
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


cdef inline bint _ends_here(const Walk* walk) noexcept nogil:
    """Whether a key ends where a walk stands."""
    return walk.left == 0 and walk.node.ends & ~<uint32_t>PATH


cdef inline void _single_end(const Walk* walk, End* end) noexcept nogil:
    """The end of a node with SINGLE."""
    cdef uint32_t ends = walk.node.ends
    end.scope = <int32_t>((ends & END_PLACE) >> SCOPE_SHIFT) - MIDDLE_SCOPE
    end.rule, end.flags = <int32_t>walk.node.below, ends & (1 << SCOPE_SHIFT) - 1 | PRESENT


cdef inline bint _end_in(const Trie* trie, const Walk* walk, int32_t scope, End* end) noexcept nogil:
    """Whether the key that ends where a walk stands is one of a scope; if so, `end` is what it means."""
    cdef const End* first
    cdef int32_t low = 0, high, count, middle
    cdef uint32_t ends = walk.node.ends
    if ends & SINGLE:
        _single_end(walk, end)
        return end.scope == scope
    first = trie.ends + (ends & END_PLACE) - 1
    high = count = first.flags >> COUNT_SHIFT
    while low < high:
        middle = (low + high) >> 1
        if first[middle].scope < scope:
            low = middle + 1
        else:
            high = middle
    if low == count or first[low].scope != scope:
        return False
    end[0] = first[low]
    end.flags |= PRESENT
    return True


cdef void* _grown(void* memory, Py_ssize_t* room, Py_ssize_t needed, size_t size) noexcept nogil:
    """Memory with room for as many things of a size as are needed, and for some more; NULL if there is none."""
    if needed <= room[0]:
        return memory
    memory = PyMem_RawRealloc(memory, <size_t>(2 * needed + 64) * size)
    if memory is not NULL:
        room[0] = 2 * needed + 64
    return memory


@cython.final
cdef class _TrieBuilder:
    """Gathers keys, then makes a trie of them without holding the interpreter lock."""

    cdef uint8_t* _keys
    cdef Py_ssize_t _used, _room
    cdef Entry* _entries
    cdef Py_ssize_t _count, _entries_room
    cdef Trie _made
    cdef Py_ssize_t _node_room, _end_room
    cdef bint _failed
    cdef readonly Py_ssize_t keys  # that have a rule; known once the trie is built

    def __dealloc__(self):
        PyMem_RawFree(self._keys)
        PyMem_RawFree(self._entries)
        PyMem_RawFree(self._made.nodes)
        PyMem_RawFree(self._made.ends)

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
        entry.beginning = 0
        for i in range(COMPARED_AT_ONCE):  # one more than the code, so that the shorter key stands first
            entry.beginning = entry.beginning << 7 | (self._keys[start + i] + 1 if i < entry.length else 0)
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
        cdef void* keys = _grown(self._keys, &self._room, self._used + codes, 1)
        if keys is NULL:
            raise MemoryError
        self._keys = <uint8_t*>keys
        cdef void* entries = _grown(self._entries, &self._entries_room, self._count + 1, sizeof(Entry))
        if entries is NULL:
            raise MemoryError
        self._entries = <Entry*>entries
        return 0

    cdef Py_ssize_t build(self, Trie* trie) except -2:
        """Fills an empty trie. -1, or the number of the first entry that contradicts one before it."""
        cdef Py_ssize_t contradiction
        with nogil:
            self._sort()
            contradiction = self._merge()
            if contradiction < 0:
                self._new_nodes(1)
                self._place(0, 0, self._count, 0)
                if not self._failed:
                    _keep_trie(&self._made, trie)
        if contradiction < 0 and (trie.nodes is NULL or trie.ends is NULL):
            raise MemoryError
        return contradiction

    cdef void _sort(self) noexcept nogil:
        cdef Py_ssize_t i
        for i in range(self._count):
            self._entries[i].key = self._keys + self._entries[i].at
        if self._count:
            qsort(self._entries, self._count, sizeof(Entry), _by_key_and_scope)

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
        return a.beginning == b.beginning and a.length == b.length and memcmp(a.key, b.key, a.length) == 0

    cdef inline uint8_t _code(self, Py_ssize_t entry, uint32_t depth) noexcept nogil:
        return self._entries[entry].key[depth]

    cdef Py_ssize_t _behind_key(self, Py_ssize_t i, Py_ssize_t high) noexcept nogil:
        """The first entry that has another key."""
        cdef Py_ssize_t first = i
        i += 1
        while i < high and self._same_key(self._entries + first, self._entries + i):
            i += 1
        return i

    cdef Py_ssize_t _behind_code(self, Py_ssize_t i, Py_ssize_t high, uint32_t depth) noexcept nogil:
        """The first entry that has another code at a depth."""
        cdef uint8_t code = self._code(i, depth)
        while i < high and self._code(i, depth) == code:
            i += 1
        return i

    cdef uint32_t _new_nodes(self, Py_ssize_t count) noexcept nogil:
        """The place of the first of some new nodes; 0 if memory is short."""
        cdef uint32_t first = self._made.node_count
        cdef void* nodes = NULL
        if first + count < PATH:
            nodes = _grown(self._made.nodes, &self._node_room, first + count, sizeof(Node))
        if nodes is NULL:
            self._failed = True
            return 0
        self._made.nodes = <Node*>nodes
        memset(self._made.nodes + first, 0, count * sizeof(Node))
        self._made.node_count += count
        return first

    cdef void _place(self, uint32_t place, Py_ssize_t low, Py_ssize_t high, uint32_t depth) noexcept nogil:
        """Fills a node, and makes all below it, for the entries from `low` to before `high`.

        They have the first `depth` codes in common.
        """
        cdef uint32_t shared, below
        cdef uint64_t children = 0
        cdef Py_ssize_t i
        if self._failed or low == high:
            return
        shared = self._shared(low, high, depth)
        if shared or self._behind_key(low, high) == high:
            self._place_path(place, low, high, depth, shared)
            return
        if self._entries[low].length == depth:
            i = self._behind_key(low, high)
            self._made.nodes[place].ends = self._new_ends(low, i)
            low = i
        i = low
        while i < high:
            children |= <uint64_t>1 << self._code(i, depth)
            i = self._behind_code(i, high, depth)
        below = self._new_nodes(popcount(children))
        if self._failed:
            return
        self._made.nodes[place].codes, self._made.nodes[place].below = children, below
        while low < high:
            i = self._behind_code(low, high, depth)
            self._place(below, low, i, depth + 1)
            below += 1
            low = i

    cdef uint32_t _shared(self, Py_ssize_t low, Py_ssize_t high, uint32_t depth) noexcept nogil:
        """How many codes from a depth on, as many as fit into a path, the entries have in common."""
        cdef uint32_t end = min(self._entries[low].length, depth + LONGEST_PATH), at = depth
        while at < end and self._code(low, at) == self._code(high - 1, at):
            at += 1
        return at - depth

    cdef void _place_path(
        self, uint32_t place, Py_ssize_t low, Py_ssize_t high, uint32_t depth, uint32_t length
    ) noexcept nogil:
        """Fills a node with the codes that its entries share from a depth on, and makes all behind them."""
        cdef uint64_t codes = <uint64_t>length << LENGTH_SHIFT
        cdef uint32_t below = 0, ends = 0
        cdef const End* end = &self._entries[low].end
        cdef uint32_t i
        for i in range(length):
            codes |= <uint64_t>self._code(low, depth + i) << 6 * i
        if self._entries[low].length != depth + length or self._behind_key(low, high) != high:
            below = self._new_nodes(1)
            self._place(below, low, high, depth + length)
        elif high - low == 1 and -MIDDLE_SCOPE <= end.scope < MIDDLE_SCOPE:
            self._count_key(low, high)
            ends = SINGLE | <uint32_t>(end.scope + MIDDLE_SCOPE) << SCOPE_SHIFT | end.flags
            below = <uint32_t>end.rule
        else:
            ends = self._new_ends(low, high)
        if not self._failed:
            self._made.nodes[place] = Node(codes, below, PATH | ends)

    cdef uint32_t _new_ends(self, Py_ssize_t low, Py_ssize_t high) noexcept nogil:
        """Keeps the ends of a key; one more than the place of the first."""
        cdef uint32_t first = self._made.end_count
        cdef Py_ssize_t i
        cdef void* ends = NULL
        self._count_key(low, high)
        if first + high - low < END_PLACE:
            ends = _grown(self._made.ends, &self._end_room, first + high - low, sizeof(End))
        if ends is NULL:
            self._failed = True
            return 0
        self._made.ends = <End*>ends
        for i in range(low, high):
            self._made.ends[first + i - low] = self._entries[i].end
        self._made.ends[first].flags |= (high - low) << COUNT_SHIFT
        self._made.end_count += high - low
        return first + 1

    cdef void _count_key(self, Py_ssize_t low, Py_ssize_t high) noexcept nogil:
        cdef Py_ssize_t i
        for i in range(low, high):
            if self._entries[i].end.rule != NO_RULE:
                self.keys += 1
                return


cdef int _by_key_and_scope(const void* one, const void* other) noexcept nogil:
    cdef const Entry* a = <const Entry*>one
    cdef const Entry* b = <const Entry*>other
    cdef int order
    if a.beginning != b.beginning:
        return -1 if a.beginning < b.beginning else 1
    order = memcmp(a.key, b.key, min(a.length, b.length))
    if order:
        return order
    if a.length != b.length:
        return -1 if a.length < b.length else 1
    if a.end.scope != b.end.scope:
        return -1 if a.end.scope < b.end.scope else 1
    return -1 if a.number < b.number else 1


cdef void _keep_trie(const Trie* made, Trie* kept) noexcept nogil:
    """Copies a trie into memory of its own size."""
    cdef size_t nodes = made.node_count * sizeof(Node), ends = made.end_count * sizeof(End)
    kept.nodes = <Node*>(large_alloc(nodes) if nodes >= LARGE else malloc(nodes))
    kept.ends = <End*>malloc(ends + 1)
    if kept.nodes is NULL or kept.ends is NULL:
        return
    memcpy(kept.nodes, made.nodes, nodes)
    if ends:
        memcpy(kept.ends, made.ends, ends)
    kept.node_count, kept.end_count = made.node_count, made.end_count


cdef inline Py_ssize_t _bytes_of(const Trie* trie) noexcept:
    return trie.node_count * sizeof(Node) + trie.end_count * sizeof(End)


cdef void _free_trie(Trie* trie) noexcept:
    free(trie.nodes)
    free(trie.ends)


_place_single_codes()
