"""Recording a request body works with every server's input stream."""

from __future__ import annotations

import io

from valetkey.web.request_body import RecordedInput


class _StrictStream:
    """An input stream that refuses negative sizes, as granian's does."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def read(self, *size: int) -> bytes:
        assert all(number >= 0 for number in size)
        return self._stream.read(*size)

    readline = readlines = read


def test_a_stream_that_refuses_negative_sizes_is_read_to_its_end() -> None:
    for size in ((), (-1,), (None,)):
        recorded_input = RecordedInput(_StrictStream(b"a=b"))

        assert recorded_input.read(*size) == b"a=b"
        assert recorded_input.recorded == b"a=b"
