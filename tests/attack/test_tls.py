"""Those who have no certificate, or one of somebody else, get nothing from a cluster with TLS, which goes on firing."""

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from raftsched_client import Client, RaftschedError, Tls, task
from raftsched_proto.internal.v1 import (
    check_pb2,
    check_pb2_grpc,
    executor_pb2,
    executor_pb2_grpc,
    output_pb2,
    output_pb2_grpc,
    raft_pb2,
    raft_pb2_grpc,
)
from raftsched_proto.v1 import cluster_pb2, cluster_pb2_grpc, execution_pb2

from raftsched.net.certificate_files import CertificateFiles
from raftsched.net.certificates import facts
from raftsched.net.identity import PeerIdentity, PeerRole
from tests.support.cluster import Cluster, Process, certificates, eventually, tls_flags, tls_of

TIMEOUT_S = 10.0
NOTHING_SERVED = grpc.StatusCode.UNAVAILABLE
DENIED = grpc.StatusCode.PERMISSION_DENIED


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("secure")
    with Cluster(directory, http=True, certificates=certificates(directory / "certs")) as cluster:
        with cluster.client() as client:
            client.create_task(task("beat", every=timedelta(seconds=1), noop=True))
        yield cluster


@pytest.fixture
def firing(secure: Cluster) -> Iterator[Cluster]:
    """The cluster, which must go on firing whatever the test has done to it."""
    yield secure
    with secure.client() as client:
        before = fired(client)
        eventually(lambda: fired(client) > before + 1, within_s=20, what="fires after the attack")


def fired(client: Client) -> int:
    return sum(
        1 for each in client.list_executions(task="beat") if each.state == execution_pb2.EXECUTION_STATE_SUCCEEDED
    )


def files_of(cluster: Cluster) -> CertificateFiles:
    assert cluster.certificates is not None
    return cluster.certificates


def channel(cluster: Cluster, tls: Tls | None) -> grpc.Channel:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    address = cluster.addresses[cluster.leader()]
    if tls is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, tls.credentials(), options)


def status(call: Callable[[grpc.Channel], object], cluster: Cluster, tls: Tls | None) -> tuple[grpc.StatusCode, str]:
    """How the call ends; OK when it is served."""
    with channel(cluster, tls) as opened:
        try:
            call(opened)
        except grpc.RpcError as error:
            return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


def get_status(opened: grpc.Channel) -> object:
    stub = cluster_pb2_grpc.ClusterServiceStub(opened)
    return stub.GetStatus(cluster_pb2.GetStatusRequest(local_only=True), timeout=TIMEOUT_S)


def greeting(cluster: Cluster, sender: str) -> raft_pb2.RaftGreeting:
    return raft_pb2.RaftGreeting(
        cluster_id="raftsched", sender_id=sender, recipient_id=cluster.leader(), protocol_version=2
    )


def exchange(cluster: Cluster, sender: str) -> Callable[[grpc.Channel], object]:
    request = raft_pb2.ExchangeRequest(greeting=greeting(cluster, sender))
    return lambda opened: next(raft_pb2_grpc.RaftServiceStub(opened).Exchange(iter([request]), timeout=TIMEOUT_S))


def fetch_snapshot(cluster: Cluster, sender: str) -> Callable[[grpc.Channel], object]:
    request = raft_pb2.FetchSnapshotRequest(greeting=greeting(cluster, sender), shard_id=1)
    return lambda opened: next(raft_pb2_grpc.RaftServiceStub(opened).FetchSnapshot(request, timeout=TIMEOUT_S))


def connect(executor_id: str, node_id: str = "") -> Callable[[grpc.Channel], object]:
    hello = executor_pb2.Hello(executor_id=executor_id, incarnation="0" * 32, slots=1, version="0.1.0", node_id=node_id)
    request = executor_pb2.ConnectRequest(hello=hello)
    return lambda opened: next(
        executor_pb2_grpc.ExecutorServiceStub(opened).Connect(iter([request]), timeout=TIMEOUT_S)
    )


def get_digest(opened: grpc.Channel) -> object:
    return check_pb2_grpc.StateCheckServiceStub(opened).GetDigest(
        check_pb2.GetDigestRequest(index=1), timeout=TIMEOUT_S
    )


def fetch_output(opened: grpc.Channel) -> object:
    request = output_pb2.FetchOutputRequest(execution_id=bytes(16), attempt=1)
    return output_pb2_grpc.OutputCopyServiceStub(opened).FetchOutput(request, timeout=TIMEOUT_S)


def another(files: CertificateFiles, directory: Path, cluster: str, role: PeerRole, id_: str, age_days: int = 0) -> Tls:
    """A certificate that the authority has issued for another cluster, or some days ago for one day."""
    elsewhere = CertificateFiles(directory, files.authority_key)
    directory.mkdir()
    (directory / "ca.crt").write_bytes(files.authority.read_bytes())
    elsewhere.add(PeerIdentity(cluster, role, id_), [], datetime.now(UTC) - timedelta(days=age_days), 1)
    return tls_of(elsewhere, role, id_)


def handshake(address: str, tls: Tls, version: ssl.TLSVersion) -> str:
    """The version that is agreed on. Raises OSError."""
    context = ssl.create_default_context(cafile=str(tls.ca))
    context.load_cert_chain(str(tls.cert), str(tls.key))
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection,
        context.wrap_socket(connection, server_hostname=host) as wrapped,
    ):
        return wrapped.version() or ""


def test_a_client_in_plain_text_is_served_nothing(firing: Cluster) -> None:
    code, _ = status(get_status, firing, None)
    assert code is NOTHING_SERVED
    with Client(firing.endpoints, timeout=2) as client, pytest.raises(RaftschedError):
        client.get_status()


def test_the_command_line_in_plain_text_is_told_of_tls(firing: Cluster) -> None:
    command = [sys.executable, "-m", "raftsched.cli.main", "status", "--endpoints", firing.endpoints[0]]
    ended = subprocess.run([*command, "--timeout", "2s"], capture_output=True, text=True, check=False)
    assert (ended.returncode, "--tls-ca" in ended.stderr) == (5, True), ended.stderr


def test_a_client_without_a_certificate_is_served_nothing(firing: Cluster) -> None:
    assert status(get_status, firing, Tls(files_of(firing).authority))[0] is NOTHING_SERVED


def test_a_certificate_of_another_authority_is_refused_by_both_sides(firing: Cluster, tmp_path: Path) -> None:
    forged = tls_of(certificates(tmp_path / "forged"), PeerRole.NODE, "n1")
    assert status(get_status, firing, forged)[0] is NOTHING_SERVED
    believing = Tls(files_of(firing).authority, forged.cert, forged.key)
    assert status(get_status, firing, believing)[0] is NOTHING_SERVED
    for call in (exchange(firing, "n1"), connect("n1-0a1b2c3d", "n1")):
        assert status(call, firing, believing)[0] is NOTHING_SERVED


@pytest.mark.parametrize("role", list(PeerRole))
def test_a_certificate_of_another_cluster_is_refused(firing: Cluster, tmp_path: Path, role: PeerRole) -> None:
    other = another(files_of(firing), tmp_path / "other", "other", role, "n1")
    for call in (get_status, exchange(firing, "n1"), fetch_snapshot(firing, "n1"), connect("n1-0a1b2c3d", "n1")):
        assert status(call, firing, other) == (DENIED, "the certificate is of another cluster")


def test_an_expired_certificate_is_refused(firing: Cluster, tmp_path: Path) -> None:
    expired = another(files_of(firing), tmp_path / "old", "raftsched", PeerRole.CLIENT, "test", age_days=3)
    assert status(get_status, firing, expired)[0] is NOTHING_SERVED


def test_executors_and_users_cannot_call_what_is_for_nodes(firing: Cluster) -> None:
    for role, id_ in ((PeerRole.EXECUTOR, "e1"), (PeerRole.CLIENT, "test")):
        tls = tls_of(files_of(firing), role, id_)
        for call in (exchange(firing, "n1"), fetch_snapshot(firing, "n1"), get_digest, fetch_output):
            assert status(call, firing, tls) == (DENIED, f"a certificate of the role {role.value} may not do this")


def test_a_user_cannot_act_as_an_executor_nor_an_executor_as_a_user(firing: Cluster) -> None:
    user, executor = (
        tls_of(files_of(firing), *each) for each in ((PeerRole.CLIENT, "test"), (PeerRole.EXECUTOR, "e1"))
    )
    assert status(connect("test-0a1b2c3d"), firing, user)[0] is DENIED
    assert status(get_status, firing, executor)[0] is DENIED


@pytest.mark.parametrize(
    ("executor_id", "node_id", "reason"),
    [
        ("e2-0a1b2c3d", "", "the certificate is of another executor"),
        ("e1-b-0a1b2c3d", "", "the certificate is of another executor"),
        ("e1", "", "the certificate is of another executor"),
        ("e1-0a1b2c3d", "n1", "the certificate is not of the node that the executor says it belongs to"),
    ],
)
def test_an_executor_cannot_take_the_id_of_another(
    firing: Cluster, executor_id: str, node_id: str, reason: str
) -> None:
    tls = tls_of(files_of(firing), PeerRole.EXECUTOR, "e1")
    assert status(connect(executor_id, node_id), firing, tls) == (DENIED, reason)


def test_the_certificate_of_a_node_is_not_that_of_an_executor_of_another_name(firing: Cluster) -> None:
    tls = tls_of(files_of(firing), PeerRole.NODE, "n1")
    for executor_id, node_id in (("e1-0a1b2c3d", ""), ("e1-0a1b2c3d", "n1"), ("n2-0a1b2c3d", "n2")):
        assert status(connect(executor_id, node_id), firing, tls)[0] is DENIED


def test_a_node_cannot_take_the_id_of_another(firing: Cluster) -> None:
    follower = firing.follower()
    other = next(id_ for id_ in firing.nodes if id_ not in (follower, firing.leader()))
    tls = tls_of(files_of(firing), PeerRole.NODE, follower)
    for call in (exchange(firing, other), fetch_snapshot(firing, other)):
        assert status(call, firing, tls) == (DENIED, "the certificate is of another node")
    assert status(fetch_snapshot(firing, follower), firing, tls)[0] is not DENIED


def test_tls_1_2_is_refused_at_the_handshake(firing: Cluster) -> None:
    tls = tls_of(files_of(firing), PeerRole.CLIENT, "test")
    for address in (firing.addresses["n1"], firing.http_addresses["n1"]):
        assert handshake(address, tls, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
        with pytest.raises(OSError, match=r".*"):
            handshake(address, tls, ssl.TLSVersion.TLSv1_2)


def test_the_socket_that_a_node_calls_itself_by_serves_nobody_else(firing: Cluster) -> None:
    lines = Path("/proc/net/unix").read_text().splitlines()
    names = [line.split()[-1] for line in lines if f"@raftsched-{firing.nodes['n1'].pid}-" in line]
    assert names
    target = f"unix-abstract:{names[0].removeprefix('@')}"
    with grpc.insecure_channel(target) as opened, pytest.raises(grpc.RpcError) as refused:
        get_status(opened)
    assert refused.value.code() is DENIED


def test_an_executor_process_with_its_certificate_runs_what_a_user_with_hers_asks_for(
    firing: Cluster, tmp_path: Path
) -> None:
    flags = tls_flags(files_of(firing), PeerRole.EXECUTOR, "e1")
    where = ["--join", ",".join(firing.endpoints), "--name", "e1", "--data-dir", str(tmp_path / "e1")]
    executor = Process(["executor", *where, "--label", "only=e1", "--log-format", "json", *flags], tmp_path / "e1.log")
    executor.start()
    try:
        with firing.client() as client:
            client.create_task(
                task("there", every=timedelta(hours=1), command=["echo", "hello"], executor_labels={"only": "e1"})
            )
            execution = client.run_task("there")
            eventually(
                lambda: client.get_execution(execution.id).state == execution_pb2.EXECUTION_STATE_SUCCEEDED,
                within_s=30,
                what=executor.log.read_text(),
            )
    finally:
        executor.kill()


def test_no_call_fails_and_no_stream_breaks_while_all_certificates_are_replaced(firing: Cluster) -> None:
    files = files_of(firing)
    old = {path: facts(path.read_bytes()).serial for path in files.issued()}
    ended, failures, calls = threading.Event(), [], 0
    marks = {id_: len(firing.log_lines(id_)) for id_ in firing.nodes}

    def work() -> None:
        nonlocal calls
        with firing.client(*firing.nodes, timeout=5) as client:
            while not ended.is_set():
                try:
                    client.create_task(task(f"during-{calls}", every=timedelta(hours=1), noop=True))
                    client.get_status()
                except RaftschedError as error:
                    failures.append(error)
                calls += 1

    worker = threading.Thread(target=work)
    worker.start()
    try:
        eventually(lambda: calls > 5, what="calls before")
        for path in files.issued():
            files.renew(path, datetime.now(UTC), 2)
        before = calls
        eventually(lambda: calls > before + 20, what="calls after")
        for id_, address in firing.addresses.items():
            new = facts(files.paths(PeerIdentity("", PeerRole.NODE, id_))[0].read_bytes()).serial
            assert new not in old.values()
            assert shown_serial(address, files) == shown_serial(firing.http_addresses[id_], files) == new
    finally:
        ended.set()
        worker.join()
    assert failures == []
    lost = [
        line
        for id_, mark in marks.items()
        for line in firing.log_lines(id_)[mark:]
        if line["event"] in ("lost the link to a peer", "executor disconnected", "not connected to the leader")
    ]
    assert lost == []


def shown_serial(address: str, files: CertificateFiles) -> int:
    """Of the certificate that a port shows."""
    tls = tls_of(files, PeerRole.CLIENT, "test")
    context = ssl.create_default_context(cafile=str(tls.ca))
    context.load_cert_chain(str(tls.cert), str(tls.key))
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection,
        context.wrap_socket(connection, server_hostname=host) as wrapped,
    ):
        shown = wrapped.getpeercert(binary_form=True)
    assert shown is not None
    return facts(ssl.DER_cert_to_PEM_cert(shown).encode()).serial
