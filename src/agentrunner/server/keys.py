"""API keys: each opens the objects of one tenant, its own. What is stored cannot be used as a key."""

from __future__ import annotations

import hashlib
import secrets
import string
from typing import NamedTuple

from agentrunner.errors import UsageError
from agentrunner.journal.database import Execute
from agentrunner.sanitise import clean

DEFAULT_OWNER = "default"
"""Whose objects they are where no key is asked for."""

_ALPHABET = string.ascii_letters + string.digits
_CHARS = 40
"""More than 230 bits: what is stored can be a plain hash, since nobody can try them all."""
_NAME_CHARS = 64


class Key(NamedTuple):
    id: str
    name: str
    hint: str
    """The end of the key, to tell it from others."""
    created_at: int


def create_key(execute: Execute, name: str, now: int) -> tuple[Key, str]:
    """A new key, and the secret, which is not kept. Raises `UsageError` for a name that is taken or is none."""
    if not 0 < len(name) <= _NAME_CHARS or clean(name) != name or name.strip() != name:
        raise UsageError(
            f"a key cannot be called {name[:_NAME_CHARS]!r}", f"give 1 to {_NAME_CHARS} visible characters"
        )
    if execute("SELECT 1 FROM server_keys WHERE name = ?", (name,)).fetchone():
        raise UsageError(f"there is a key {name!r} already", "choose another name, or remove it with 'agent keys rm'")
    secret = "sk-agent-" + "".join(secrets.choice(_ALPHABET) for _ in range(_CHARS))
    key = Key("key_" + secrets.token_hex(8), name, secret[-4:], now)
    execute(
        "INSERT INTO server_keys (id, name, hash, hint, created_at) VALUES (?, ?, ?, ?, ?)",
        (key.id, name, _hash(secret), key.hint, now),
    )
    return key, secret


def list_keys(execute: Execute) -> list[Key]:
    rows = execute("SELECT id, name, hint, created_at FROM server_keys ORDER BY created_at, name")
    return [Key(str(id_), str(name), str(hint), int(created_at)) for id_, name, hint, created_at in rows]


def remove_key(execute: Execute, name: str) -> Key:
    """Raises `UsageError` when there is none of this name or id."""
    key = _find(execute, name)
    execute("DELETE FROM server_keys WHERE id = ?", (key.id,))
    return key


def owner_named(execute: Execute, name: str) -> str:
    """Whose objects are seen with the key of this name or id. Raises `UsageError` when there is none."""
    return _find(execute, name).id


def _find(execute: Execute, name: str) -> Key:
    for key in list_keys(execute):
        if name in (key.name, key.id):
            return key
    raise UsageError(f"there is no key {name!r}", "'agent keys list' shows all of them")


def owner_for(execute: Execute, secret: str | None) -> str | None:
    """Whose objects may be seen with this secret; None: nobody's. As long as there are no keys, none is asked for."""
    if secret:
        row = execute("SELECT id FROM server_keys WHERE hash = ?", (_hash(secret),)).fetchone()
        if row:
            return str(row[0])
    return None if execute("SELECT 1 FROM server_keys LIMIT 1").fetchone() else DEFAULT_OWNER


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
