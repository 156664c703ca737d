# Form bodies and query strings. Part of _core.pyx.

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


ctypedef struct Pair:
    uint64_t begins  # the first bytes of the name as a number: nearly always that tells which goes first
    const char* name
    const char* value
    Py_ssize_t name_size
    Py_ssize_t value_size


def join_sorted(list pairs not None) -> bytes:
    """All distinct pairs of a form, sorted; the stub says how."""
    cdef Py_ssize_t i, count = len(pairs), size = 0, kept = 0
    cdef Pair* each = <Pair*>PyMem_Malloc((count + 1) * sizeof(Pair))
    cdef char* at
    cdef bytes joined
    if each is NULL:
        raise MemoryError
    try:
        for i in range(count):
            name, value = <tuple?>pairs[i]  # which holds them
            each[i].name = PyUnicode_AsUTF8AndSize(name, &each[i].name_size)
            each[i].begins = _begins(each[i].name, each[i].name_size)
            each[i].value = PyUnicode_AsUTF8AndSize(value, &each[i].value_size)
        qsort(each, count, sizeof(Pair), &_compare_pairs)
        for i in range(count):
            if i == 0 or _compare_pairs(&each[i], &each[kept - 1]) != 0:
                each[kept] = each[i]
                kept += 1
                size += each[i].name_size + each[i].value_size
        joined = PyBytes_FromStringAndSize(NULL, size)
        at = PyBytes_AS_STRING(joined)
        for i in range(kept):
            memcpy(at, each[i].name, each[i].name_size)
            at += each[i].name_size
            memcpy(at, each[i].value, each[i].value_size)
            at += each[i].value_size
        return joined
    finally:
        PyMem_Free(each)


cdef int _compare_pairs(const void* left, const void* right) noexcept nogil:
    cdef const Pair* one = <const Pair*>left
    cdef const Pair* other = <const Pair*>right
    cdef int found
    if one.begins != other.begins:
        return 1 if one.begins > other.begins else -1
    found = _compare(one.name, one.name_size, other.name, other.name_size)
    return found if found != 0 else _compare(one.value, one.value_size, other.value, other.value_size)


cdef inline uint64_t _begins(const char* text, Py_ssize_t size) noexcept nogil:
    cdef uint64_t found = 0
    cdef Py_ssize_t i
    for i in range(8):
        found = found << 8 | (<uint8_t>text[i] if i < size else 0)
    return found


cdef inline int _compare(const char* one, Py_ssize_t size, const char* other, Py_ssize_t other_size) noexcept nogil:
    """By code points: UTF-8 sorts as they do."""
    cdef int found = memcmp(one, other, min(size, other_size))
    return found if found != 0 else (size > other_size) - (size < other_size)


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
