"""Which names a node is served as, and how a host is read."""

import pytest

from raftsched.hosts import Hosts, MalformedHost, parse_host, parse_origin, parse_pattern


def bound(address: str, *known: str, added: tuple[str, ...] = ()) -> Hosts:
    hosts = Hosts(known, added)
    hosts.listening(address)
    return hosts


def serves(hosts: Hosts, text: str) -> bool:
    return hosts.serves(parse_host(text))


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8101", "localhost"),
        ("localhost.:8101", "localhost"),
        ("localhost:", "localhost"),
        ("a_b.example.org:65535", "a_b.example.org"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("127.0.0.1:8101", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[0:0:0:0:0:0:0:1]:8101", "[::1]"),
        ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ("[fe80::1%25eth0]:80", "[fe80::1]"),
    ],
)
def test_a_host_is_read_as_browsers_mean_it(text: str, host: str) -> None:
    assert str(parse_host(text)) == host


@pytest.mark.parametrize(
    "text",
    [
        "", ".", ":8101", "a..b", "localhost..", "::1", "[::1", "::1]", "[::1]x", "[127.0.0.1]", "[]", "a:b", "a:-1",
        "a:123456", "user@localhost", "localhost/x", "localhost,evil.example", "a b", "127.1", "127.0.0.256",
        "1.2.3.4.5",
        "2130706433", "-a.example", "a-.example",
        "b\u00fccher.example", "localhost\n", "\x00", "*.example.org", "*", "x" * 64, "x." * 130, "[v1.a]", "a:٣",
    ],
)  # fmt: skip
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(MalformedHost):
        parse_host(text)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://Ops.example.org", "https://ops.example.org"),
        ("https://ops.example.org:443", "https://ops.example.org"),
        ("http://ops.example.org:443", "http://ops.example.org:443"),
        ("http://localhost:080", "http://localhost"),
        ("http://[::1]:8101", "http://[::1]:8101"),
        ("http://[::1]", "http://[::1]"),
    ],
)
def test_an_origin_has_one_form(text: str, origin: str) -> None:
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    ["*", "null", "", "ops.example.org", "ftp://ops.example.org", "http://", "http://a/", "http://a@b", "http://["],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(MalformedHost):
        parse_origin(text)


def test_a_node_on_loopback_is_served_as_loopback_alone() -> None:
    hosts = bound("127.0.0.1", "127.0.0.1:7101")
    for name in ("localhost", "127.0.0.1", "127.9.9.9:1", "[::1]:80", "[::ffff:127.0.0.1]", "LOCALHOST."):
        assert serves(hosts, name), name
    for name in (
        "evil.example",
        "localhost.evil.example",
        "evil.localhost",
        "10.0.0.1",
        "0x7f.0.0.x",
        "[fe80::1]",
        "127.0.0.1.evil.example",
    ):
        assert not serves(hosts, name), name


def test_a_node_is_served_as_what_it_listens_on_and_what_others_call_it() -> None:
    hosts = bound("10.0.0.1", "n1.internal:7101", "10.0.0.1:8101")
    for name in ("n1.internal", "N1.Internal.:8101", "10.0.0.1:99", "localhost"):
        assert serves(hosts, name), name
    for name in ("10.0.0.2", "internal", "n2.internal", "x.n1.internal"):
        assert not serves(hosts, name), name


def test_a_node_on_all_addresses_is_served_by_any_address_and_the_name_of_its_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Machine-7")
    for unspecified in ("0.0.0.0", "::"):
        hosts = bound(unspecified)
        for name in ("192.0.2.7", "[2001:db8::7]", "machine-7", "localhost"):
            assert serves(hosts, name), name
        assert not serves(hosts, "evil.example")


def test_an_odd_name_of_the_machine_keeps_no_node_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "My Laptop (2)")
    assert serves(bound("0.0.0.0"), "192.0.2.7")


def test_the_operator_adds_names_domains_and_any() -> None:
    hosts = bound("127.0.0.1", added=("ops.example.org.", "*.Example.net", "192.0.2.1", "[2001:db8::1]"))
    for name in ("OPS.example.org:443", "a.example.net", "a.b.example.net", "192.0.2.1", "[2001:db8::1]:8101"):
        assert serves(hosts, name), name
    for name in ("example.net", "evilexample.net", "example.org", "a.ops.example.org"):
        assert not serves(hosts, name), name
    assert serves(bound("127.0.0.1", added=("*",)), "whatever.example")


@pytest.mark.parametrize("text", ["", "a:80", "*.", "*.10.0.0.1", "a.*", "*a.example", "http://a", "a/b", "[::1]:80"])
def test_what_the_operator_cannot_add_is_refused(text: str) -> None:
    with pytest.raises(MalformedHost):
        parse_pattern(text)


def test_what_is_served_is_said_within_bounds() -> None:
    assert str(bound("127.0.0.1", added=("*.example.net",))) == "localhost, *.example.net, 127.0.0.1, [::1]"
    assert str(Hosts((), [f"n{number}.example" for number in range(20)])).endswith(" and 13 more")
