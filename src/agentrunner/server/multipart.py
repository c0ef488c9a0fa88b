"""Forms with a file, written to disk as they come: an upload of any size takes the memory of one piece.

The parser of forms is python-multipart's; what Starlette builds on it would put the file on disk a second time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agentrunner.server.faults import ApiError, bad
from agentrunner.server.requests import check_length, too_large
from agentrunner.server.storage.blobs import Incoming

if TYPE_CHECKING:
    from starlette.requests import Request

_FIELD_BYTES = 64 << 10
_PARTS = 32
_HEADER_BYTES = 16 << 10
_AROUND_BYTES = 1 << 20
"""Of everything beside the file: fields, headers, boundaries."""


class Form:
    """The fields of a form, and one file, which goes into `incoming`."""

    def __init__(self, file_field: str, incoming: Incoming, max_bytes: int) -> None:
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self._file_field = file_field
        self._incoming = incoming
        self._max_bytes = max_bytes
        self.whole = False
        """Whether its end has come."""
        self._parts = 0
        self._name = ""
        self._into_file = False
        self._value = bytearray()
        self._header = (bytearray(), bytearray())
        self._disposition = b""

    def callbacks(self) -> dict[str, Callable[..., Any]]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": functools.partial(self._collect, 0),
            "on_header_value": functools.partial(self._collect, 1),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._value.clear()
        self._disposition = b""
        self._parts += 1
        if self._parts > _PARTS:
            raise bad("Invalid form: it has too many fields.")

    def _collect(self, which: int, data: bytes, start: int, end: int) -> None:
        self._header[which].extend(data[start:end])
        if len(self._header[which]) > _HEADER_BYTES:
            raise bad("Invalid form: a header is too long.", "file")

    def _header_end(self) -> None:
        name, value = self._header
        if bytes(name).lower() == b"content-disposition":
            self._disposition = bytes(value)
        name.clear()
        value.clear()

    def _headers_finished(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._into_file = self._name == self._file_field
        if self._into_file:
            if self.filename is not None:
                raise bad(f"Invalid '{self._file_field}': only one file can be sent at a time.", self._file_field)
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._into_file:
            if self._incoming.size + end - start > self._max_bytes:
                raise too_large(self._max_bytes)
            self._incoming.write(data[start:end])
        else:
            self._value.extend(data[start:end])
            if len(self._value) > _FIELD_BYTES:
                raise bad(f"Invalid '{self._name[:100]}': it is too long.", self._name[:100])

    def _part_end(self) -> None:
        if not self._into_file:
            self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self.whole = True


async def read_form(request: Request, file_field: str, incoming: Incoming, max_bytes: int) -> Form:
    """The whole form. Raises `ApiError` when it is none, has no such file, or the file is longer than `max_bytes`."""
    from python_multipart import MultipartParser
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import parse_options_header

    check_length(request, max_bytes + _AROUND_BYTES)
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise bad("Invalid Content-Type: expected multipart/form-data.", None, None)
    form = Form(file_field, incoming, max_bytes)
    try:
        parser = MultipartParser(options[b"boundary"], form.callbacks())  # pyright: ignore[reportArgumentType]
        async for piece in request.stream():
            parser.write(piece)
        parser.finalize()
    except FormParserError as error:
        raise ApiError(400, f"The form could not be read: {error}") from None
    if not form.whole:
        raise bad("The form could not be read: its end is missing.", None, None)
    if form.filename is None:
        raise bad(f"Missing required parameter: '{file_field}'.", file_field, "missing_required_parameter")
    return form
