# Heads of HTTP requests. Part of _core.pyx.

# Names of headers as they were sent and as they are kept: nearly all requests have the same ones. Anybody can send
# names, so only so many of so many bytes are remembered, and with one more all are forgotten.
cdef dict NAMES = {}
cdef enum:
    MOST_NAMES = 256
    LONGEST_NAME = 64


@cython.final
cdef class RequestHead:
    """What an HTTP parser tells of a request's head; the stub says how."""

    cdef readonly bytes url
    cdef readonly dict headers

    def __cinit__(self):
        self.on_message_begin()

    def on_message_begin(self):
        self.url = b""
        self.headers = {}

    def on_url(self, bytes part not None):
        self.url = self.url + part if self.url else part

    def on_header(self, bytes name not None, bytes value not None):
        cdef str key = _header_name(name)
        cdef str text = value.decode("latin-1")
        cdef object earlier = self.headers.get(key)
        self.headers[key] = text if earlier is None else f"{earlier}, {text}"


cdef str _header_name(bytes name):
    cdef object known = NAMES.get(name)
    if known is not None:
        return known
    cdef str key = name.decode("latin-1").lower()
    if len(name) <= LONGEST_NAME:
        if len(NAMES) == MOST_NAMES:
            NAMES.clear()
        NAMES[name] = key
    return key
