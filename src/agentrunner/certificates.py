"""Whom this process trusts to say which server is which."""

import functools
import ssl
from pathlib import Path

CA_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where Debian, Fedora, openSUSE and Alpine keep the certificate authorities."""


@functools.cache
def trusting() -> ssl.SSLContext | bool:
    """For aiohttp's `ssl`: True for the context that it has anyway (the system's authorities, or those of SSL_CERT_FILE
    and SSL_CERT_DIR), or one of ours where Python was built elsewhere and looks in places that are not there."""
    expected = ssl.get_default_verify_paths()
    if expected.cafile or expected.capath:
        return True
    there = next((place for place in CA_FILES if Path(place).is_file()), None)
    return True if there is None else ssl.create_default_context(cafile=there)
