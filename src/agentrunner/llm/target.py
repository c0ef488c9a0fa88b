"""Where requests go, and the headers that go with each: OpenAI, Azure, and whatever speaks their language. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from agentrunner import __version__
from agentrunner.errors import UsageError

OPENAI_URL = "https://api.openai.com/v1"
AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go. `azure`: a path with the deployment in it, and the key in a header of its own."""

    base_url: str
    azure: bool
    api_version: str = ""

    @property
    def openai(self) -> bool:
        """OpenAI itself, or Azure under either kind of path: these take the newer names of fields."""
        host = urlsplit(self.base_url).hostname or ""
        return self.azure or host == "api.openai.com" or host.endswith((".api.openai.com", *AZURE_HOSTS))


def target_of(
    base_url: str | None, azure: bool | None, api_version: str | None, deployment: str, default_version: str
) -> Target:
    """None for `azure` means: look at the host, or at whether there is an `api_version`. Azure's dated API has the
    name of the `deployment` in its path, or nothing where that is empty."""
    url = (base_url or OPENAI_URL).rstrip("/")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise UsageError(f"the base URL {url!r} is not one", "it begins with http:// or https:// and a host")
    path = urlsplit(url).path
    if azure is None:
        host = urlsplit(url).hostname or ""
        azure = (api_version is not None or host.endswith(AZURE_HOSTS)) and not path.endswith("/v1")
    if not azure:
        return Target(url, azure=False)
    url = url if "/openai" in path else f"{url}/openai"
    if deployment and "/deployments/" not in path:
        url += f"/deployments/{quote(deployment, safe='')}"
    return Target(url, azure=True, api_version=api_version or default_version)


def address(target: Target, path: str) -> str:
    """Where requests of this path go: what follows a `?` in the base URL stays behind it."""
    base = urlsplit(target.base_url)
    version = f"api-version={quote(target.api_version, safe='')}" if target.azure and target.api_version else ""
    query = "&".join(filter(None, (base.query, version)))
    return urlunsplit((base.scheme, base.netloc, base.path.rstrip("/") + path, query, ""))


def headers(target: Target, key: str | None, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """What goes with every request. Who is billed at OpenAI, where that is not the key's own default, stands in the
    variables that its own clients read."""
    found = [
        ("Accept", "application/json"),
        ("Accept-Encoding", "gzip, deflate"),
        ("Content-Type", "application/json"),
        ("User-Agent", f"agentrunner/{__version__}"),
    ]
    if key is not None:
        found.append(("api-key", key) if target.azure else ("Authorization", f"Bearer {key}"))
    elif (base := urlsplit(target.base_url)).username:
        pair = f"{unquote(base.username)}:{unquote(base.password or '')}".encode()
        found.append(("Authorization", f"Basic {b64encode(pair).decode()}"))
    billed = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
    if target.openai and not target.azure:
        found += [(name, environ[variable]) for name, variable in billed.items() if environ.get(variable)]
    return found
