"""A process does not start with a certificate of somebody else."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from raftsched.config import ConfigError, load
from raftsched.net.certificate_files import CertificateFiles
from raftsched.net.identity import PeerIdentity, PeerRole
from raftsched.node.errors import StartError
from raftsched.node.settings import executor_tls, node_tls

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def authority(tmp_path: Path) -> CertificateFiles:
    files = CertificateFiles(tmp_path / "certs")
    files.found("prod", NOW, 100)
    return files


def flags(files: CertificateFiles, role: PeerRole, id_: str) -> dict[str, str]:
    certificate, key = files.add(PeerIdentity("prod", role, id_), [], NOW, 10)
    return {"tls_ca": str(files.authority), "tls_cert": str(certificate), "tls_key": str(key)}


def node(tmp_path: Path, cluster_id: str, **tls: str) -> Any:
    return load(
        "node", None, {}, {"id": "n1", "listen": "127.0.0.1:1", "data_dir": tmp_path, "cluster_id": cluster_id, **tls}
    )


def executor(tmp_path: Path, **tls: str) -> Any:
    return load("executor", None, {}, {"join": "127.0.0.1:1", "name": "e1", "data_dir": tmp_path, **tls})


def test_without_files_there_is_no_tls(tmp_path: Path) -> None:
    assert node_tls(node(tmp_path, "prod")) is None
    assert executor_tls(executor(tmp_path)) is None


def test_some_of_the_files_are_not_enough(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing: ca, key"):
        node(tmp_path, "prod", tls_cert="a.crt")


@pytest.mark.parametrize(("role", "id_"), [(PeerRole.NODE, "n2"), (PeerRole.EXECUTOR, "n1"), (PeerRole.CLIENT, "n1")])
def test_a_node_wants_its_own_certificate(authority, tmp_path: Path, role: PeerRole, id_: str) -> None:
    with pytest.raises(StartError, match=r"raftsched://prod/.*and this is raftsched://prod/node/n1"):
        node_tls(node(tmp_path, "prod", **flags(authority, role, id_)))


def test_a_node_wants_a_certificate_of_its_cluster(authority, tmp_path: Path) -> None:
    own = flags(authority, PeerRole.NODE, "n1")
    assert node_tls(node(tmp_path, "prod", **own)) is not None
    with pytest.raises(StartError, match="raftsched://raftsched/node/n1"):
        node_tls(node(tmp_path, "raftsched", **own))


def test_an_executor_wants_a_certificate_of_its_name(authority, tmp_path: Path) -> None:
    assert executor_tls(executor(tmp_path, **flags(authority, PeerRole.EXECUTOR, "e1"))) is not None
    for role, id_ in ((PeerRole.EXECUTOR, "e2"), (PeerRole.NODE, "e1")):
        with pytest.raises(StartError, match="has the name e1"):
            executor_tls(executor(tmp_path, **flags(authority, role, id_)))
