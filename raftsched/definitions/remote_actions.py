"""Checks of actions that something else carries out: gRPC servers, AWS Lambda, container engines, extensions."""

import json
import math
import re

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError
from raftsched_proto.v1 import task_pb2

from raftsched.definitions import references
from raftsched.definitions.fields import check_enum, check_number, quoted
from raftsched.definitions.violations import Violations

BUILT_IN_KINDS = frozenset(field.name for field in task_pb2.Action.DESCRIPTOR.fields)
MIN_MEMORY_BYTES = 6 << 20
"""The least that container engines take."""
MAX_MEMORY_BYTES = 1 << 50
MAX_CPU_MILLIS = 1_000_000

_TARGET = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):(\d{1,5})", re.ASCII)
_METHOD = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*/[A-Za-z_]\w*", re.ASCII)
_METADATA_KEY = re.compile(r"(?!grpc-)[a-z0-9_.-]{1,200}(?<!-bin)", re.ASCII)
_METADATA_VALUE = re.compile(r"[ -~]*")
_FUNCTION = re.compile(r"[A-Za-z0-9_:$./-]{1,200}", re.ASCII)
_QUALIFIER = re.compile(r"[A-Za-z0-9_$-]{0,128}", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]{0,32}", re.ASCII)
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9._:-]{0,128}", re.ASCII)
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
_MAX_PORT = 65535
_MAX_KEY_CHARACTERS = 64


def filled(text: str) -> str:
    """The text with something in the place of each secret, to be checked."""
    return references.replace(text, lambda _: "secret")


def check_json(violations: Violations, field: str, text: str, *, must_be_object: bool = True) -> None:
    """JSON text; empty is an empty object."""
    try:
        value = json.loads(
            filled(text) or "{}", parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_without_doubles
        )
    except (ValueError, RecursionError) as error:
        violations.add(field, f"is not JSON: {error}")
        return
    if must_be_object and not isinstance(value, dict):
        violations.add(field, "must be a JSON object")


def _no_number(word: str) -> float:
    raise ValueError(f"it has no {word}")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {quoted(twice)} is there twice")
    return found


def check_environment(violations: Violations, field: str, name: str, value: str) -> None:
    """A variable of a program's environment."""
    if not name or "=" in name or "\0" in name + value:
        violations.add(field, f"{quoted(name)} is no variable that an environment can hold")


def check_grpc(violations: Violations, field: str, grpc: task_pb2.GrpcAction) -> None:
    """A unary gRPC call."""
    target = _TARGET.fullmatch(filled(grpc.target))
    if not target or not 0 < int(target[2]) <= _MAX_PORT:
        violations.add(f"{field}.target", f"{quoted(grpc.target)} is not host:port")
    if not _METHOD.fullmatch(grpc.method):
        violations.add(f"{field}.method", f"{quoted(grpc.method)} is not package.Service/Method")
    check_json(violations, f"{field}.request_json", grpc.request_json)
    for key, value in grpc.metadata.items():
        if not _METADATA_KEY.fullmatch(key) or not _METADATA_VALUE.fullmatch(value):
            violations.add(
                f"{field}.metadata", f"{quoted(key)}: keys are in lower case, without grpc- and -bin; values are ASCII"
            )
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(grpc.descriptor_set).file
    except DecodeError:
        violations.add(f"{field}.descriptor_set", "is no serialised google.protobuf.FileDescriptorSet")
        return
    services = {f"{file.package}.{service.name}".lstrip(".") for file in files for service in file.service}
    if grpc.descriptor_set and grpc.method.rpartition("/")[0] not in services:
        violations.add(f"{field}.descriptor_set", f"does not hold the service of {quoted(grpc.method)}")


def check_lambda(violations: Violations, field: str, action: task_pb2.AwsLambdaAction) -> None:
    """An invocation of an AWS Lambda function."""
    if not _FUNCTION.fullmatch(action.function):
        violations.add(f"{field}.function", f"{quoted(action.function)} is neither a name nor an ARN of a function")
    if not _QUALIFIER.fullmatch(action.qualifier):
        violations.add(f"{field}.qualifier", f"{quoted(action.qualifier)} is neither a version nor an alias")
    if not _REGION.fullmatch(action.region):
        violations.add(f"{field}.region", f"{quoted(action.region)} is not the name of a region")
    if len(action.attempt_key) > _MAX_KEY_CHARACTERS:
        violations.add(f"{field}.attempt_key", f"has more than {_MAX_KEY_CHARACTERS} characters")
    check_json(violations, f"{field}.payload_json", action.payload_json, must_be_object=bool(action.attempt_key))


def check_container(violations: Violations, field: str, container: task_pb2.ContainerAction) -> None:
    """A container."""
    if not _IMAGE.fullmatch(container.image):
        violations.add(f"{field}.image", f"{quoted(container.image)} is not the name of an image")
    for name, value in container.env.items():
        check_environment(violations, f"{field}.env", name, value)
    for name, words in (("command", container.command), ("entrypoint", container.entrypoint)):
        if any("\0" in word for word in words):
            violations.add(f"{field}.{name}", "must not contain NUL characters")
    if container.working_directory and not container.working_directory.startswith("/"):
        violations.add(f"{field}.working_directory", "must be an absolute path")
    for name in ("user", "network"):
        if not _WORD.fullmatch(getattr(container, name)):
            violations.add(f"{field}.{name}", f"{quoted(getattr(container, name))} is no name")
    if container.memory_limit_bytes:
        check_number(
            violations, f"{field}.memory_limit_bytes", container.memory_limit_bytes, MIN_MEMORY_BYTES, MAX_MEMORY_BYTES
        )
    if container.cpu_limit_millis:
        check_number(violations, f"{field}.cpu_limit_millis", container.cpu_limit_millis, 10, MAX_CPU_MILLIS)
    container.pull_policy = container.pull_policy or task_pb2.PULL_POLICY_IF_NOT_PRESENT
    check_enum(violations, f"{field}.pull_policy", container.pull_policy, task_pb2.PullPolicy.values())


def check_extension(violations: Violations, field: str, extension: task_pb2.ExtensionAction) -> None:
    """An action of a kind that the operator has added; only the executors know the kinds."""
    if not _KIND.fullmatch(extension.kind):
        violations.add(
            f"{field}.kind", f"{quoted(extension.kind)} is not 1 to 63 of [a-z0-9_-], starting with a letter"
        )
    elif extension.kind in BUILT_IN_KINDS:
        violations.add(f"{field}.kind", f"{extension.kind} is no extension: give the action {extension.kind} itself")
    check_json(violations, f"{field}.parameters_json", extension.parameters_json)
