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
def trusting() -> ssl.SSLContext:
    """The system's authorities, or those of SSL_CERT_FILE and SSL_CERT_DIR. One for all connections: the list takes
    20 ms to read, and half a megabyte."""
    context = ssl.create_default_context()
    expected = ssl.get_default_verify_paths()
    there = next((place for place in CA_FILES if Path(place).is_file()), None)
    if there and not expected.cafile and not expected.capath:
        # A Python that was built elsewhere looks where this system does not keep them.
        context.load_verify_locations(there)
    return context
