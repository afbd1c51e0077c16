"""The client reads its certificates again when they have changed, and goes on with what it has while they cannot be."""

from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from raftsched_client import Client, Tls
from raftsched_client._dial import KeptChannels

from raftsched.net.certificate_files import CertificateFiles
from raftsched.net.identity import PeerIdentity, PeerRole

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ME = PeerIdentity("prod", PeerRole.CLIENT, "me")


@pytest.fixture
def authority(tmp_path: Path) -> CertificateFiles:
    files = CertificateFiles(tmp_path)
    files.found("prod", NOW, 100)
    files.add(ME, [], NOW, 10)
    return files


def test_files_that_cannot_be_are_refused_when_the_client_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        Client("127.0.0.1:1", tls=Tls(tmp_path / "nowhere.crt"))
    with pytest.raises(ValueError, match="go together"):
        Tls("ca.crt", cert="a.crt")


def test_changed_files_are_for_new_connections_and_the_old_ones_stay(authority: CertificateFiles) -> None:
    opened: list[tuple[str, grpc.ChannelCredentials | None]] = []

    def open_channel(endpoint: str, credentials: grpc.ChannelCredentials | None) -> int:
        opened.append((endpoint, credentials))
        return len(opened)

    certificate, key = authority.paths(ME)
    channels = KeptChannels(open_channel, Tls(authority.authority, certificate, key))
    assert [channels.get("a:1"), channels.get("b:1"), channels.get("a:1")] == [1, 2, 1]
    key.unlink()
    assert channels.get("a:1") == 1
    authority.renew(certificate, NOW, 20)
    assert channels.get("a:1") == 3
    assert opened[2][1] is not opened[0][1]
    assert sorted(channels.take_all()) == [1, 2, 3]
