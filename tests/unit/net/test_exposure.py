"""Which addresses a process may use without certificates."""

import pytest

from raftsched.net.exposure import exposed, is_loopback, refusal


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:7101", "127.9.9.9:1", "[::1]:7101", "::1:7101", "[::ffff:127.0.0.1]:1", "localhost:1", "LOCALHOST.:1"],
)
def test_loopback_is_reached_from_this_machine_alone(address: str) -> None:
    assert is_loopback(address)
    assert not refusal({"listen": address}, insecure=False)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0:7101", "[::]:7101", ":::7101", "*:80", "10.0.0.1:7101", "[::ffff:10.0.0.1]:1", "[fe80::1%eth0]:1",
        "n1.internal:7101", "localhost.evil.example:1", "127.0.0.1.evil.example:1", "evillocalhost:1", "127.1:80",
        ":80",
    ],
)  # fmt: skip
def test_any_other_address_is_refused_unless_somebody_says_so(address: str) -> None:
    said = refusal({"listen": address}, insecure=False)
    assert f"listen {address}" in said
    assert "--insecure" in said
    assert "insecure = true" in said
    assert not refusal({"listen": address}, insecure=True)


def test_all_that_are_exposed_are_named_and_no_others() -> None:
    addresses = {"listen": "127.0.0.1:1", "http_listen": "0.0.0.0:2", "other": "10.0.0.1:3"}
    assert exposed(addresses) == "http_listen 0.0.0.0:2 and other 10.0.0.1:3"
