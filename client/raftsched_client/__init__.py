"""Client library of raftsched.

from datetime import timedelta
from raftsched_client import Client, task

with Client("127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103") as client:
    client.create_task(task("tidy", cron="30 2 * * *", zone="Europe/Berlin", command=["/usr/bin/tidy"]))
"""

from raftsched_client._gather import TaskGatherer
from raftsched_client.async_client import AsyncClient
from raftsched_client.errors import (
    AlreadyExistsError,
    Applied,
    ConflictError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    RaftschedError,
    ResourceExhaustedError,
    UnavailableError,
)
from raftsched_client.sync_client import Client
from raftsched_client.tasks import action, notifications, retry_policy, schedule, task
from raftsched_client.times import Timeout, to_datetime, to_duration, to_timedelta, to_timestamp
from raftsched_client.v1.calendar_pb2 import Calendar
from raftsched_client.v1.cluster_pb2 import ExecutorStatus, GetStatusResponse, NodeStatus
from raftsched_client.v1.execution_pb2 import Attempt, Execution, ExecutionState, GetOutputResponse, LedgerEntry
from raftsched_client.v1.group_pb2 import Group
from raftsched_client.v1.history_pb2 import (
    CountLogsResponse,
    DayCount,
    GetHistoryStatusResponse,
    LogKind,
    LogRecord,
    RecentRuns,
    TaskChange,
    TaskChangeKind,
)
from raftsched_client.v1.notification_pb2 import Notifications, Occasion
from raftsched_client.v1.policy_pb2 import Delivery, MisfirePolicy, OverlapPolicy, Placement
from raftsched_client.v1.task_pb2 import (
    Action,
    AwsLambdaAction,
    BackfilledTime,
    BatchCreateTaskResult,
    ChainCondition,
    ChainParent,
    CommandAction,
    ContainerAction,
    CronSchedule,
    Exclusion,
    ExtensionAction,
    FoldPolicy,
    GapPolicy,
    GrpcAction,
    HttpAction,
    IntervalSchedule,
    NoopAction,
    PreviewScheduleResponse,
    PullPolicy,
    PythonAction,
    RetryPolicy,
    RruleSchedule,
    Schedule,
    Task,
    TaskState,
    UnionSchedule,
)

__all__ = [
    "Action",
    "AlreadyExistsError",
    "Applied",
    "AsyncClient",
    "Attempt",
    "AwsLambdaAction",
    "BackfilledTime",
    "BatchCreateTaskResult",
    "Calendar",
    "ChainCondition",
    "ChainParent",
    "Client",
    "CommandAction",
    "ConflictError",
    "ContainerAction",
    "CountLogsResponse",
    "CronSchedule",
    "DayCount",
    "DeadlineExceededError",
    "Delivery",
    "Exclusion",
    "Execution",
    "ExecutionState",
    "ExecutorStatus",
    "ExtensionAction",
    "FoldPolicy",
    "GapPolicy",
    "GetHistoryStatusResponse",
    "GetOutputResponse",
    "GetStatusResponse",
    "Group",
    "GrpcAction",
    "HttpAction",
    "IntervalSchedule",
    "InvalidArgumentError",
    "LedgerEntry",
    "LogKind",
    "LogRecord",
    "MisfirePolicy",
    "NodeStatus",
    "NoopAction",
    "NotFoundError",
    "Notifications",
    "Occasion",
    "OverlapPolicy",
    "Placement",
    "PreviewScheduleResponse",
    "PullPolicy",
    "PythonAction",
    "RaftschedError",
    "RecentRuns",
    "ResourceExhaustedError",
    "RetryPolicy",
    "RruleSchedule",
    "Schedule",
    "Task",
    "TaskChange",
    "TaskChangeKind",
    "TaskGatherer",
    "TaskState",
    "Timeout",
    "UnavailableError",
    "UnionSchedule",
    "action",
    "notifications",
    "retry_policy",
    "schedule",
    "task",
    "to_datetime",
    "to_duration",
    "to_timedelta",
    "to_timestamp",
]
