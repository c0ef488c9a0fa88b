"""API keys: each opens the objects of one tenant, its own. What is stored cannot be used as a key."""

from __future__ import annotations

import hashlib
import math
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
_MOST_USD = 1e9
"""More than anybody spends, and less than a column can hold."""
NANO = 1_000_000_000


class Key(NamedTuple):
    id: str
    name: str
    hint: str
    """The end of the key, to tell it from others."""
    created_at: int
    max_cost_usd: float | None = None
    """What all its runs may cost together; None: there is no limit."""
    spent_usd: float = 0.0
    reserved_usd: float = 0.0
    """For requests that are on their way, at most."""


def cost_limit(text: str) -> float | None:
    """US dollars, or "none". Raises `UsageError`."""
    if text.strip().lower() == "none":
        return None
    try:
        usd = float(text.strip().removeprefix("$"))
    except ValueError:
        usd = math.nan
    if not 0 <= usd <= _MOST_USD:
        raise UsageError(f"--max-cost cannot be {text[:40]!r}", "give US dollars, such as 5.00, or none")
    return usd


def create_key(execute: Execute, name: str, now: int, max_cost_usd: float | None = None) -> tuple[Key, str]:
    """A new key, and the secret, which is not kept. Raises `UsageError` for a name that is taken or is none."""
    if not 0 < len(name) <= _NAME_CHARS or clean(name, keep="") != name or name.strip() != name:
        raise UsageError(
            f"a key cannot be called {name[:_NAME_CHARS]!r}", f"give 1 to {_NAME_CHARS} visible characters"
        )
    if execute("SELECT 1 FROM server_keys WHERE name = ?", (name,)).fetchone():
        raise UsageError(f"there is a key {name!r} already", "choose another name, or remove it with 'agent keys rm'")
    secret = "sk-agent-" + "".join(secrets.choice(_ALPHABET) for _ in range(_CHARS))
    key = Key("key_" + secrets.token_hex(8), name, secret[-4:], now, max_cost_usd)
    execute(
        "INSERT INTO server_keys (id, name, hash, hint, created_at, max_nano_usd) VALUES (?, ?, ?, ?, ?, ?)",
        (key.id, name, _hash(secret), key.hint, now, _nano(max_cost_usd)),
    )
    return key, secret


def list_keys(execute: Execute) -> list[Key]:
    rows = execute(
        "SELECT id, name, hint, created_at, max_nano_usd, spent_nano_usd,"
        " (SELECT SUM(spent) FROM server_spending WHERE owner = server_keys.id),"
        " (SELECT SUM(reserved) FROM server_spending WHERE owner = server_keys.id)"
        " FROM server_keys ORDER BY created_at, name"
    )
    return [
        Key(
            str(id_),
            str(name),
            str(hint),
            int(created_at),
            None if most is None else int(most) / NANO,
            (int(spent) + int(active or 0)) / NANO,
            int(reserved or 0) / NANO,
        )
        for id_, name, hint, created_at, most, spent, active, reserved in rows
    ]


def limit_key(execute: Execute, name: str, max_cost_usd: float | None) -> Key:
    """What the runs of this key may cost from now on, with what they have cost so far. Raises `UsageError`."""
    key = _find(execute, name)
    execute("UPDATE server_keys SET max_nano_usd = ? WHERE id = ?", (_nano(max_cost_usd), key.id))
    return key._replace(max_cost_usd=max_cost_usd)


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


def _nano(usd: float | None) -> int | None:
    return None if usd is None else round(usd * NANO)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
