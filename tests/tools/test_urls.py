"""One strict reading of URLs, and which addresses are public."""

from __future__ import annotations

import ipaddress
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrunner.addresses import why_not_public
from agentrunner.tools.urls import UrlError, parse_url, urls_in


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("HTTP://Example.COM", "http://example.com/"),
        ("https://example.com:443/a?b=c#part", "https://example.com/a?b=c"),
        ("http://example.com:8080/", "http://example.com:8080/"),
        ("https://example.com./x", "https://example.com/x"),
        ("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4"),
        ("http://8.8.8.8/", "http://8.8.8.8/"),
        ("http://[2606:4700::1111]/", "http://[2606:4700::1111]/"),
        (" https://example.com/a%20b \n", "https://example.com/a%20b"),
    ],
)
def test_a_url_has_one_form(text: str, canonical: str) -> None:
    assert str(parse_url(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:\\@google.com/",
        "http://user:secret@example.com/",
        "http://example.com@127.0.0.1/",
        "http://0x7f.1/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.1.:80:80/",
        "http://[fe80::1%25eth0]/",
        "http://[::1/",
        "http://[::ffff:127.0.0.1%1]/",
        "http://exa mple.com/",
        "http://example.com/\r\nHost: evil",
        "http://exam\tple.com/",
        "http://example.com/\u202ea",
        "http://%31%32%37.0.0.1/",
        "http://1.2.3.4.5/",
        "http://localhost/",
        "http://foo.localhost/",
        "http://metadata.google.internal/",
        "http://printer.local/",
        "http:///path",
        "http:example.com",
        "//example.com/",
        "example.com",
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com/",
        "javascript:alert(1)",
        "http://example.com:99999/",
        "http://example.com:0/",
        "http://-.example.com/",
        "http://" + "a" * 3_000 + ".com/",
        "",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_with_an_instruction(text: str) -> None:
    with pytest.raises(UrlError) as refused:
        parse_url(text)
    assert len(str(refused.value).split()) > 4
    assert "://example" not in str(refused.value)


def test_a_dotted_quad_in_full_width_digits_is_the_address_it_shows() -> None:
    url = parse_url("http://\uff11\uff12\uff17\u3002\uff10\u3002\uff10\u3002\uff11/")
    assert url.address == ipaddress.ip_address("127.0.0.1")


@given(st.text(st.sampled_from("htps:/@\\.%[]?#0x127 aé\u202e\x00\u3002"), max_size=40))
def test_no_text_breaks_the_reader_and_its_form_is_stable(text: str) -> None:
    try:
        url = parse_url("http://" + text)
    except UrlError:
        return
    assert parse_url(str(url)) == url
    assert "@" not in url.host
    assert "\\" not in str(url)


def test_urls_are_found_where_texts_put_them() -> None:
    text = (
        "See https://a.example/one, (https://b.example/two) and [three](https://c.example/three). "
        '<https://d.example/four> "https://e.example/five" https://f.example/wiki/X_(y) HTTPS://G.example .'
    )
    found = urls_in(text)
    assert {
        "https://a.example/one", "https://b.example/two", "https://c.example/three", "https://d.example/four",
        "https://e.example/five", "https://f.example/wiki/X_(y)", "https://g.example/",
    } <= found  # fmt: skip
    assert "https://a.example/" not in found


def test_looking_for_urls_in_a_hostile_page_takes_no_time() -> None:
    started = time.monotonic()
    urls_in(("http://a.example/" + ")" * 1_900 + " ") * 1_000)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "169.254.0.1", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1", "192.88.99.1",
        "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "::127.0.0.1",
        "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:1:2:3:4:80ff:fffe", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1", "2606:4700::5efe:127.0.0.1", "2001:db8::1", "3fff::1", "5f00::1", "4000::1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert why_not_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.216.34", "1.1.1.1", "192.0.1.1", "2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808"],
)
def test_a_public_address_is_let_through(address: str) -> None:
    assert why_not_public(ipaddress.ip_address(address)) == ""
