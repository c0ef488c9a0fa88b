"""Files and uploads in parts: what may be asked for, and the objects that come of it."""

from __future__ import annotations

from collections.abc import Mapping

from agentrunner.server.faults import bad
from agentrunner.server.wire import limits
from agentrunner.server.wire.checks import Check, array, integer, nullable, obj, one_of, text
from agentrunner.types import JSON

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data")
"""That a client may give. Files for `evals` are no use here, and no file object may have that purpose."""
LISTED_PURPOSES = (*PURPOSES, "assistants_output", "batch_output", "fine-tune-results")

_PURPOSE = one_of(*PURPOSES)
_EXPIRES_AFTER = nullable(
    obj(
        {"anchor": one_of("created_at"), "seconds": integer(*limits.FILE_SECONDS)},
        required=("anchor", "seconds"),
        open_=True,
    )
)
_FILENAME = text(limits.FILENAME_CHARS, 1)

CREATE_UPLOAD: Check = obj(
    {
        "filename": _FILENAME,
        "purpose": _PURPOSE,
        "bytes": integer(0, limits.UPLOAD_BYTES),
        "mime_type": text(min_chars=1),
        "expires_after": _EXPIRES_AFTER,
    },
    required=("filename", "purpose", "bytes", "mime_type"),
)
COMPLETE_UPLOAD: Check = obj(
    {"part_ids": array(text(min_chars=1), most=10_000), "md5": nullable(text())}, required=("part_ids",)
)


def create_file(fields: Mapping[str, str]) -> JSON:
    """The fields of a form beside its file. Objects come as `name[key]`."""
    body: JSON = {}
    for name, value in fields.items():
        if name.startswith("expires_after[") and name.endswith("]"):
            key = name[len("expires_after[") : -1]
            number = key == "seconds" and value.isascii() and value.isdigit() and len(value) < 19
            body.setdefault("expires_after", {})[key] = int(value) if number else value
        else:
            body[name] = value
    return obj({"purpose": _PURPOSE, "expires_after": _EXPIRES_AFTER}, required=("purpose",))(body, "")


def filename_of(name: str) -> str:
    """The last part of what a client calls its file, whatever system it runs on."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1].replace("\x00", "").encode("utf-8", "replace").decode()
    if last in ("", ".", ".."):
        raise bad("Invalid 'file': the file needs a name.", "file")
    return _FILENAME(last, "file")


def new_file(
    id_: str, created_at: int, filename: str, purpose: str, size: int, sha256: str, expires_at: int | None
) -> JSON:
    made: JSON = {
        "id": id_,
        "object": "file",
        "bytes": size,
        "created_at": created_at,
        "filename": filename,
        "purpose": purpose,
        "status": "processed",
        "_sha256": sha256,
    }
    return made if expires_at is None else made | {"expires_at": expires_at}


def new_upload(id_: str, created_at: int, body: JSON) -> JSON:
    return {
        "id": id_,
        "object": "upload",
        "bytes": body["bytes"],
        "created_at": created_at,
        "filename": filename_of(body["filename"]),
        "purpose": body["purpose"],
        "status": "pending",
        "expires_at": created_at + limits.UPLOAD_SECONDS,
        "_expires_after": body.get("expires_after"),
    }


def new_part(id_: str, created_at: int, upload_id: str, sha256: str, size: int) -> JSON:
    return {
        "id": id_,
        "object": "upload.part",
        "created_at": created_at,
        "upload_id": upload_id,
        "_sha256": sha256,
        "_bytes": size,
    }
