"""Since which cluster version each field of commands, members and rows, and each value of their enums, may be used.

Whoever adds one names it here, in the version that brings it: a test compares this table with the protocol. A field of
an older version never changes its meaning; what shall mean something else gets a new field.
"""

_BROUGHT_BY = {
    1: """
    raftsched.internal.v1.AdvanceSink: name log_index
    raftsched.internal.v1.Assign: items
    raftsched.internal.v1.Assign.Item: id expected_attempt executor_id
    raftsched.internal.v1.AttemptResult: start_us end_us exit_code http_status error output_tail output_size_bytes
        output_sha256 output_stored_bytes
    raftsched.internal.v1.AttemptRow: attempt state executor_id result told
    raftsched.internal.v1.BackfillTask: name expected_revision nominal_us max_running
    raftsched.internal.v1.CalendarRow: calendar revision
    raftsched.internal.v1.CancelExecution: id reason
    raftsched.internal.v1.CheckState: pass_us start max_rows max_bytes found ends_pass
    raftsched.internal.v1.CheckWatches: items
    raftsched.internal.v1.CheckWatches.Item: due_us id occasion
    raftsched.internal.v1.Command: version now_us leader_id term request_id actor register_tasks replace_task
        delete_task run_task cancel_execution fire assign report expire retire wake check_watches settle_notices
        put_group delete_group backfill_task put_calendar delete_calendar check_state advance_sink repair_cursors
        raise_version
    raftsched.internal.v1.CursorRow: next_us last_us
    raftsched.internal.v1.DeleteCalendar: name
    raftsched.internal.v1.DeleteGroup: name
    raftsched.internal.v1.DeleteTask: name expected_revision
    raftsched.internal.v1.ExecutionRow: task uid generation trigger nominal_us state attempt fencing_token
        executor_id fire_us result leader_id term cancel_requested delivery max_running queued not_before_us
        past_attempts start_by_us priority group parent_execution_ids root_execution_id pinned_executor_id
        nominal_id backfill_max_running notifies output_copy_node_id first_start_us told
    raftsched.internal.v1.Expire: items
    raftsched.internal.v1.Expire.Item: id expected_attempt reason
    raftsched.internal.v1.Fire: items
    raftsched.internal.v1.Fire.Decided: nominal_us last_nominal_us count decision reason executor_id start_us
        into_us
    raftsched.internal.v1.Fire.Item: task uid generation expected_revision expected_next_us next_us decided delivery
        overlap_policy max_running max_queued start_deadline_us priority misfire_policy resume_us notifies group
        executor_ids
    raftsched.internal.v1.GroupRow: group running starts tasks
    raftsched.internal.v1.LedgerRow: last_nominal_us count decision reason trigger decide_us leader_id term uid
        expired generation misfire_policy overlap_policy delivery executor_ids parent_execution_ids into_us early
    raftsched.internal.v1.NoticeRow: task occasion nominal_us last_nominal_us count result state attempt executor_id
        notifications create_us deliveries delivery_error first_start_us
    raftsched.internal.v1.NoticeTallyRow: dropped last_us last_execution_id last
    raftsched.internal.v1.Outcome: code message field results uid execution_id nominal_us
    raftsched.internal.v1.PutCalendar: calendar create expected_revision tasks
    raftsched.internal.v1.PutCalendar.Item: task expected_revision next_us
    raftsched.internal.v1.PutGroup: group create
    raftsched.internal.v1.RaiseVersion: to
    raftsched.internal.v1.RegisterTasks: items
    raftsched.internal.v1.RegisterTasks.Item: task next_us calendars_revision
    raftsched.internal.v1.RepairCursors: items complete
    raftsched.internal.v1.RepairCursors.Item: task uid expected_revision expected_next_us expected_last_us next_us
    raftsched.internal.v1.ReplaceTask: task expected_revision schedule_changed next_us moves_cursor skipped_last_us
        skipped_count skip_reason expected_next_us calendars_revision
    raftsched.internal.v1.Report: items
    raftsched.internal.v1.Report.Item: id attempt state result executor_id jitter_ppm output_copy_node_id
    raftsched.internal.v1.RequestRow: expiry_us outcome
    raftsched.internal.v1.Retire: execution_ids ledger_keys request_expiry_keys task_change_keys round_keys time_us
    raftsched.internal.v1.RoundRow: task arrivals awaited begin_us
    raftsched.internal.v1.RoundRow.Arrival: task execution_id state
    raftsched.internal.v1.RunTask: name executor_id executor_ids
    raftsched.internal.v1.SettleNotices: items
    raftsched.internal.v1.SettleNotices.Item: due_us id occasion delivered next_us error
    raftsched.internal.v1.StateDigests: index nodes
    raftsched.internal.v1.StateDigests.NodeDigest: node_id digest cluster_identity since_index
    raftsched.internal.v1.StatePosition: table key
    raftsched.internal.v1.ShardMembers: members cluster_identity
    raftsched.internal.v1.ShardMembers.Member: id address votes incarnation
    raftsched.internal.v1.TaskRow: task uid revision actor delete_us
    raftsched.internal.v1.Wake: items
    raftsched.internal.v1.Wake.Item: due_us id
    raftsched.v1.Action: command http python noop grpc aws_lambda container extension
    raftsched.v1.AwsLambdaAction: function qualifier payload_json event region attempt_key
    raftsched.v1.Calendar: name exclusions create_time update_time tasks exclusion_count etag
    raftsched.v1.ChainCondition: CHAIN_CONDITION_UNSPECIFIED CHAIN_CONDITION_SUCCESS CHAIN_CONDITION_FAILURE
        CHAIN_CONDITION_COMPLETION
    raftsched.v1.ChainParent: task on
    raftsched.v1.CommandAction: argv shell env working_directory stdin
    raftsched.v1.ContainerAction: image command entrypoint env working_directory user memory_limit_bytes
        cpu_limit_millis pull_policy network
    raftsched.v1.CronSchedule: expression time_zone gap fold
    raftsched.v1.Delivery: DELIVERY_UNSPECIFIED DELIVERY_AT_LEAST_ONCE DELIVERY_AT_MOST_ONCE
    raftsched.v1.Exclusion: date last_date start_time end_time reason
    raftsched.v1.ExecutionState: EXECUTION_STATE_UNSPECIFIED EXECUTION_STATE_PENDING EXECUTION_STATE_ASSIGNED
        EXECUTION_STATE_RUNNING EXECUTION_STATE_SUCCEEDED EXECUTION_STATE_FAILED EXECUTION_STATE_TIMED_OUT
        EXECUTION_STATE_CANCELLED EXECUTION_STATE_LOST EXECUTION_STATE_EXPIRED
    raftsched.v1.ExtensionAction: kind parameters_json
    raftsched.v1.FoldPolicy: FOLD_POLICY_UNSPECIFIED FOLD_POLICY_FIRST FOLD_POLICY_LAST FOLD_POLICY_BOTH
    raftsched.v1.GapPolicy: GAP_POLICY_UNSPECIFIED GAP_POLICY_SHIFT GAP_POLICY_SKIP
    raftsched.v1.Group: name max_running max_starts period create_time update_time running waiting tasks
    raftsched.v1.GrpcAction: target method request_json metadata tls descriptor_set
    raftsched.v1.HttpAction: method url headers body expected_statuses
    raftsched.v1.IntervalSchedule: every anchor
    raftsched.v1.MisfirePolicy: MISFIRE_POLICY_UNSPECIFIED MISFIRE_POLICY_SKIP MISFIRE_POLICY_ONE MISFIRE_POLICY_ALL
    raftsched.v1.NoopAction:
    raftsched.v1.Notifications: url occasions late_after report_within signing_secret headers
    raftsched.v1.Occasion: OCCASION_UNSPECIFIED OCCASION_FAILURE OCCASION_LOST OCCASION_SKIPPED OCCASION_LATE
        OCCASION_MISSING
    raftsched.v1.OverlapPolicy: OVERLAP_POLICY_UNSPECIFIED OVERLAP_POLICY_ALLOW OVERLAP_POLICY_SKIP
        OVERLAP_POLICY_QUEUE OVERLAP_POLICY_CANCEL_RUNNING
    raftsched.v1.Placement: PLACEMENT_UNSPECIFIED PLACEMENT_ANY PLACEMENT_EVERY
    raftsched.v1.PullPolicy: PULL_POLICY_UNSPECIFIED PULL_POLICY_IF_NOT_PRESENT PULL_POLICY_ALWAYS PULL_POLICY_NEVER
    raftsched.v1.PythonAction: callable kwargs_json
    raftsched.v1.RetryPolicy: max_attempts initial_backoff multiplier max_backoff states exit_codes http_statuses
    raftsched.v1.RruleSchedule: lines time_zone gap fold
    raftsched.v1.Schedule: at cron interval rrule union start_time end_time exclusions calendars
    raftsched.v1.Task: name uid labels schedule action time_limit paused executor_labels misfire_policy
        misfire_threshold delivery overlap_policy max_running max_queued retry start_deadline priority jitter group
        after resume_time misfire_window misfire_max_runs placement notifications description owner etag generation
        state create_time update_time next_fire_time last_fire_time warnings waiting
    raftsched.v1.TaskState: TASK_STATE_UNSPECIFIED TASK_STATE_ACTIVE TASK_STATE_PAUSED TASK_STATE_FINISHED
    raftsched.v1.TaskWarning: field description
    raftsched.v1.UnionSchedule: schedules
    raftsched.v1.WaitingExecutions: reason detail count oldest_nominal_time tasks
    raftsched.v1.WaitingReason: WAITING_REASON_UNSPECIFIED WAITING_REASON_UNKNOWN WAITING_REASON_NO_EXECUTOR
        WAITING_REASON_NO_MATCHING_EXECUTOR WAITING_REASON_EXECUTOR_DISCONNECTED WAITING_REASON_NO_FREE_SLOT
        WAITING_REASON_GROUP_LIMIT WAITING_REASON_OVERLAP WAITING_REASON_BACKFILL WAITING_REASON_RETRY
        WAITING_REASON_JITTER WAITING_REASON_LEADER_CHANGE WAITING_REASON_DISPATCH
    """,
    2: """
    raftsched.internal.v1.ExecutionRow: withdrawn
    raftsched.internal.v1.Fire.Decided: armed
    raftsched.internal.v1.Outcome: withdrawn
    raftsched.internal.v1.ReplaceTask: kept_us
    raftsched.internal.v1.Report.Item: fencing_token
    raftsched.v1.ExecutionState: EXECUTION_STATE_ARMED
    """,
}
"""By version: the full name of a message or enum with a colon, and the names of its fields or values."""


def _since() -> dict[str, int]:
    since, owner = {}, ""
    for version, text in _BROUGHT_BY.items():
        for word in text.split():
            if word.endswith(":"):
                owner = word[:-1]
            else:
                since[f"{owner}.{word}"] = version
    return since


SINCE = _since()
"""The full name of a field or enum value -> the first cluster version that has it."""
