# Heads of HTTP requests. Part of _core.pyx.

@cython.final
cdef class RequestHead:
    """What an HTTP parser tells of a request's head; the stub says how."""

    cdef readonly bytes url
    cdef readonly dict headers

    def __cinit__(self):
        self.url = b""
        self.headers = {}

    def on_url(self, bytes part not None):
        self.url = self.url + part if self.url else part

    def on_header(self, bytes name not None, bytes value not None):
        cdef str key = name.decode("latin-1").lower()
        cdef str text = value.decode("latin-1")
        cdef object earlier = self.headers.get(key)
        self.headers[key] = text if earlier is None else f"{earlier}, {text}"
