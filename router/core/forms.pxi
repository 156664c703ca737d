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
