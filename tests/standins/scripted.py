"""An outbound client that goes nowhere: it gives one answer after the other and keeps what it is asked."""

from router.types import HttpResponse


class Scripted:
    """`answers` are (status, body), with headers behind them if there are any; `requests` are (URL, headers, body)."""

    def __init__(self, *answers: tuple[int, bytes] | tuple[int, bytes, dict[str, str]]) -> None:
        self._answers = list(answers)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    async def request(self, method: str, url: str, *, headers: dict[str, str], body: bytes) -> HttpResponse:
        """Keeps the request and gives the next answer."""
        self.requests.append((url, headers, body))
        status, content, *more = self._answers.pop(0)
        return HttpResponse(status, more[0] if more else {}, content)
