"""An Office document as what it is: a ZIP archive of XML parts that name each other. It looks at sizes before it
unpacks anything, and takes no XML that declares entities."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from posixpath import dirname, join, normpath
from typing import NamedTuple
from xml.parsers import expat

from agentrunner.retrieval.documents import Limits, Unreadable

Attributes = Mapping[str, str]

_MOST_PARTS = 20_000
_MOST_RATIO = 200  # XML shrinks to a tenth, a sheet of one value to a hundredth
_SMALL = 16 << 20  # bytes: whatever unpacks to less does no harm
_AT_ONCE = 64 << 10


class Relation(NamedTuple):
    id: str
    type: str
    """The last word of its type: officeDocument, styles, slide"""
    target: str


class Package:
    def __init__(self, data: bytes, limits: Limits) -> None:
        try:
            self._archive = zipfile.ZipFile(BytesIO(data))
        except zipfile.BadZipFile:
            raise Unreadable("is damaged or cut off; get it again, or open it and save it again") from None
        self._parts = {info.filename: info for info in self._archive.infolist()}
        _check_sizes(self._archive.infolist(), limits)

    def main(self) -> str:
        """The part that is the document itself."""
        for relation in self.relations(""):
            if relation.type == "officeDocument":
                return relation.target
        raise Unreadable("is not an Office document, whatever its name says; unpack it or give it its own ending")

    def relations(self, part: str) -> list[Relation]:
        """The parts that a part names, in the order in which they stand there; the whole package's for ""."""
        found: list[Relation] = []
        folder = dirname(part)

        def start(tag: str, attributes: Attributes) -> None:
            if tag == "Relationship" and attributes.get("TargetMode") != "External":
                target = normpath(join("/", folder, attributes.get("Target", ""))).lstrip("/")
                found.append(Relation(attributes.get("Id", ""), attributes.get("Type", "").rpartition("/")[2], target))

        self.walk(join(folder, "_rels", part.rpartition("/")[2] + ".rels"), start)
        return found

    def walk(
        self,
        part: str,
        start: Callable[[str, Attributes], None],
        end: Callable[[str], None] | None = None,
        text: Callable[[str], None] | None = None,
    ) -> None:
        """Calls these for each element and text of a part, none if there is no such part. Names of elements and
        attributes come without their namespace: that has changed once, they have not."""
        if part not in self._parts:
            return
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse_entities
        parser.StartElementHandler = lambda name, attributes: start(
            _local(name), {_key(name): value for name, value in attributes.items()}
        )
        if end:
            parser.EndElementHandler = lambda name: end(_local(name))
        if text:
            parser.CharacterDataHandler = text
        with self._archive.open(self._parts[part]) as file:
            while piece := file.read(_AT_ONCE):
                parser.Parse(piece, False)
        parser.Parse(b"", True)

    def check_all(self) -> None:
        """Refuses entities in any part, for those who give the package to a library."""
        for name in self._parts:
            if _is_xml(name):
                self.walk(name, lambda tag, attributes: None)


def _check_sizes(parts: list[zipfile.ZipInfo], limits: Limits) -> None:
    """As the archive declares them: what is more than declared is not unpacked."""
    if len(parts) > _MOST_PARTS:
        raise Unreadable(f"holds {len(parts):,} parts, more than any document; it is not read")
    if any(part.flag_bits & 1 for part in parts):
        raise Unreadable("is protected by a password; save a copy without one and add that")
    xml = [part for part in parts if _is_xml(part.filename)]
    expanded = sum(part.file_size for part in xml)
    if expanded > limits.max_expanded_bytes:
        raise Unreadable(
            f"unpacks to {expanded / 1e6:,.0f} MB, more than the {limits.max_expanded_bytes / 1e6:,.0f} MB that are "
            "read; split it into smaller files"
        )
    if any(part.file_size > max(_SMALL, _MOST_RATIO * part.compress_size) for part in xml):
        raise Unreadable(
            f"unpacks to more than {_MOST_RATIO} times its size, as no document does; if it is one, open it and save "
            "it as text"
        )


def _is_xml(name: str) -> bool:
    return name.lower().endswith((".xml", ".rels"))


def _local(name: str) -> str:
    return name.rpartition(" ")[2]


def _key(name: str) -> str:
    """An element may have an id of its own and one of a relation: "id" and "r:id"."""
    space, _, key = name.rpartition(" ")
    return f"r:{key}" if space.endswith("/relationships") else key


def _refuse_entities(*declared: object) -> None:
    raise Unreadable("declares entities, as no Office document does; open it and save it again")
