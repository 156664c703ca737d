# Form bodies and query strings. Part of _core.pyx.

class TooManyFieldsError(ValueError):
    """A form with more fields than the caller allows."""


def scan_form(bytes data not None, Py_ssize_t max_fields) -> list:
    """The fields of a form body or query; the stub says how."""
    return Form(data, max_fields).pairs()


ctypedef struct Field:
    uint64_t begins  # for sorting: the first bytes of the name as a number, which nearly always tells who goes first
    const char* name
    const char* value
    Py_ssize_t name_size
    Py_ssize_t value_size


@cython.final
cdef class Form:
    """A form whose fields become strings when they are asked for; the stub says how."""

    cdef Field* _fields  # behind them all names and values, decoded, in UTF-8
    cdef Py_ssize_t _count

    def __cinit__(self, bytes data not None, Py_ssize_t max_fields):
        cdef const char* start = PyBytes_AS_STRING(data)
        cdef const char* stop = start + len(data)
        cdef const char* end
        cdef const char* equals
        cdef char* at
        cdef Py_ssize_t most = max(0, min(_separators(start, stop) + 1, max_fields))
        cdef Field* field
        # What is not UTF-8 becomes U+FFFD, three bytes for one.
        self._fields = <Field*>PyMem_Malloc(most * sizeof(Field) + 3 * len(data) + 1)
        if self._fields is NULL:
            raise MemoryError
        at = <char*>&self._fields[most]
        while start < stop:
            end = <const char*>memchr(start, c"&", stop - start)
            if end is NULL:
                end = stop
            if end > start:
                if self._count == most:
                    raise TooManyFieldsError(
                        f"the form has more than {max_fields} fields; raise the limit if it really needs them"
                    )
                equals = <const char*>memchr(start, c"=", end - start)
                if equals is NULL:
                    equals = end
                field = &self._fields[self._count]
                self._count += 1
                field.name = at
                at = _decode(start, equals, at)
                field.name_size = at - field.name
                field.value = at
                if equals < end:
                    at = _decode(equals + 1, end, at)
                field.value_size = at - field.value
            start = end + 1

    def __dealloc__(self):
        PyMem_Free(self._fields)

    def get(self, str name not None, default=None):
        cdef Py_ssize_t size
        cdef const char* wanted = PyUnicode_AsUTF8AndSize(name, &size)
        cdef Py_ssize_t i
        cdef Field* field
        for i in range(self._count - 1, -1, -1):
            field = &self._fields[i]
            if field.name_size == size and memcmp(field.name, wanted, size) == 0:
                return PyUnicode_DecodeUTF8(field.value, field.value_size, NULL)
        return default

    def pairs(self) -> list:
        cdef Field* field
        cdef Py_ssize_t i
        cdef list found = []
        for i in range(self._count):
            field = &self._fields[i]
            found.append((
                PyUnicode_DecodeUTF8(field.name, field.name_size, NULL),
                PyUnicode_DecodeUTF8(field.value, field.value_size, NULL),
            ))
        return found

    def joined(self) -> bytes:
        cdef Py_ssize_t i, count = self._count, size = 0
        cdef Field* each = <Field*>PyMem_Malloc((count + 1) * sizeof(Field))
        cdef bytes joined
        cdef char* at
        if each is NULL:
            raise MemoryError
        try:
            for i in range(count):
                each[i] = self._fields[i]
                each[i].begins = _begins(each[i].name, each[i].name_size)
            qsort(each, count, sizeof(Field), &_compare_fields)
            count = _distinct(each, count)
            for i in range(count):
                size += each[i].name_size + each[i].value_size
            joined = PyBytes_FromStringAndSize(NULL, size)
            at = PyBytes_AS_STRING(joined)
            for i in range(count):
                memcpy(at, each[i].name, each[i].name_size)
                at += each[i].name_size
                memcpy(at, each[i].value, each[i].value_size)
                at += each[i].value_size
            return joined
        finally:
            PyMem_Free(each)


cdef Py_ssize_t _separators(const char* start, const char* stop) noexcept nogil:
    cdef Py_ssize_t i, count = 0
    for i in range(stop - start):
        count += start[i] == c"&"
    return count


cdef Py_ssize_t _distinct(Field* each, Py_ssize_t count) noexcept nogil:
    """Leaves of equal ones in a row the first; how many there are then."""
    cdef Py_ssize_t i, kept = 0
    for i in range(count):
        if i == 0 or _compare_fields(&each[i], &each[kept - 1]) != 0:
            each[kept] = each[i]
            kept += 1
    return kept


cdef int _compare_fields(const void* left, const void* right) noexcept nogil:
    cdef const Field* one = <const Field*>left
    cdef const Field* other = <const Field*>right
    cdef int found
    if one.begins != other.begins:
        return 1 if one.begins > other.begins else -1
    found = _compare(one.name, one.name_size, other.name, other.name_size)
    return found if found != 0 else _compare(one.value, one.value_size, other.value, other.value_size)


cdef inline uint64_t _begins(const char* text, Py_ssize_t size) noexcept nogil:
    cdef uint64_t found = 0
    cdef Py_ssize_t i
    for i in range(min(size, 8)):
        found |= <uint64_t>(<uint8_t>text[i]) << (56 - 8 * i)
    return found


cdef inline int _compare(const char* one, Py_ssize_t size, const char* other, Py_ssize_t other_size) noexcept nogil:
    """By code points: UTF-8 sorts as they do."""
    cdef int found = memcmp(one, other, min(size, other_size))
    return found if found != 0 else (size > other_size) - (size < other_size)


cdef char* _decode(const char* start, const char* end, char* out) except NULL:
    """Undoes percent-encoding; where the text ends then. `out` has room for three times what is read."""
    cdef const char* at = start
    cdef char* into = out
    cdef bint ascii = True
    cdef int high, low
    while at < end:
        into[0] = at[0]
        if at[0] & 0x80:  # not a form as anybody encodes it; what the standard library makes of that
            text = PyUnicode_DecodeUTF8(start, end - start, "replace")
            return _write_text(unquote(text.replace("+", " "), errors="replace"), out)
        if at[0] == c"+":
            into[0] = c" "
        elif at[0] == c"%" and end - at > 2:
            high, low = _hex_digit(at[1]), _hex_digit(at[2])
            if high >= 0 and low >= 0:
                into[0] = <char>(high << 4 | low)
                ascii = ascii and high < 8
                at += 2
        into += 1
        at += 1
    return into if ascii else _write_text(PyUnicode_DecodeUTF8(out, into - out, "replace"), out)


cdef char* _write_text(str text, char* out) except NULL:
    cdef Py_ssize_t size
    cdef const char* encoded = PyUnicode_AsUTF8AndSize(text, &size)
    memcpy(out, encoded, size)
    return out + size


cdef inline int _hex_digit(char ch) noexcept nogil:
    if c"0" <= ch <= c"9":
        return ch - c"0"
    if c"a" <= ch | 0x20 <= c"f":
        return (ch | 0x20) - c"a" + 10
    return -1
