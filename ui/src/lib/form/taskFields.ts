// Made by scripts/generate-ui-types of the options in proto/raftsched/v1/task.proto.
import type { Field } from './fields.ts';

/** Simple fields of a task in the order of the protocol, and the part of the form that each is in. */
export const TASK_FIELDS: readonly (Field & { section: string })[] = [
  {
    "section": "ABOUT",
    "path": "description",
    "kind": "area",
    "label": "Description",
    "description": "What it is for and what to do when it fails, in Markdown",
    "wide": true
  },
  {
    "section": "ABOUT",
    "path": "owner",
    "kind": "text",
    "label": "Owner",
    "description": "A person or a team"
  },
  {
    "section": "FAILURE",
    "path": "timeLimit",
    "kind": "duration",
    "label": "Time limit",
    "description": "Of one attempt",
    "placeholder": "none"
  },
  {
    "section": "PLACE",
    "path": "placement",
    "kind": "choice",
    "label": "Placement",
    "description": "On any one of those executors, or on every one",
    "options": [
      {
        "value": "PLACEMENT_ANY",
        "label": "Any one"
      },
      {
        "value": "PLACEMENT_EVERY",
        "label": "Every one"
      }
    ]
  },
  {
    "section": "LATE",
    "path": "misfirePolicy",
    "kind": "choice",
    "label": "Misfires",
    "description": "Nominal times that passed too long ago",
    "options": [
      {
        "value": "MISFIRE_POLICY_ONE",
        "label": "Run the latest once"
      },
      {
        "value": "MISFIRE_POLICY_SKIP",
        "label": "Skip them"
      },
      {
        "value": "MISFIRE_POLICY_ALL",
        "label": "Run every one"
      }
    ]
  },
  {
    "section": "LATE",
    "path": "misfireThreshold",
    "kind": "duration",
    "label": "Misfire threshold",
    "description": "Lateness that is too long",
    "placeholder": "10s"
  },
  {
    "section": "LATE",
    "path": "misfireWindow",
    "kind": "duration",
    "label": "Misfire window",
    "description": "Older ones are skipped all the same",
    "placeholder": "none",
    "only": {
      "path": "misfirePolicy",
      "values": [
        "MISFIRE_POLICY_ONE",
        "MISFIRE_POLICY_ALL"
      ]
    }
  },
  {
    "section": "LATE",
    "path": "misfireMaxRuns",
    "kind": "integer",
    "label": "Misfires that run at most",
    "description": "The latest of them; the others are skipped",
    "placeholder": "all",
    "only": {
      "path": "misfirePolicy",
      "values": [
        "MISFIRE_POLICY_ALL"
      ]
    }
  },
  {
    "section": "FAILURE",
    "path": "delivery",
    "kind": "choice",
    "label": "Delivery",
    "description": "When its executor vanishes",
    "options": [
      {
        "value": "DELIVERY_AT_LEAST_ONCE",
        "label": "At least once: run again"
      },
      {
        "value": "DELIVERY_AT_MOST_ONCE",
        "label": "At most once: count as lost"
      }
    ]
  },
  {
    "section": "OVERLAP",
    "path": "overlapPolicy",
    "kind": "choice",
    "label": "Overlap",
    "description": "When the run before has not ended",
    "options": [
      {
        "value": "OVERLAP_POLICY_ALLOW",
        "label": "Run all the same"
      },
      {
        "value": "OVERLAP_POLICY_SKIP",
        "label": "Skip"
      },
      {
        "value": "OVERLAP_POLICY_QUEUE",
        "label": "Queue"
      },
      {
        "value": "OVERLAP_POLICY_CANCEL_RUNNING",
        "label": "Cancel the older"
      }
    ]
  },
  {
    "section": "OVERLAP",
    "path": "maxRunning",
    "kind": "integer",
    "label": "Open at once",
    "description": "Executions of this task, 1 to 100",
    "placeholder": "1",
    "only": {
      "path": "overlapPolicy",
      "values": [
        "OVERLAP_POLICY_SKIP",
        "OVERLAP_POLICY_QUEUE",
        "OVERLAP_POLICY_CANCEL_RUNNING"
      ]
    }
  },
  {
    "section": "OVERLAP",
    "path": "maxQueued",
    "kind": "integer",
    "label": "Waiting at most",
    "description": "The next one is skipped",
    "placeholder": "10",
    "only": {
      "path": "overlapPolicy",
      "values": [
        "OVERLAP_POLICY_QUEUE"
      ]
    }
  },
  {
    "section": "LATE",
    "path": "startDeadline",
    "kind": "duration",
    "label": "Start deadline",
    "description": "Skip it when no executor took it by then",
    "placeholder": "none"
  },
  {
    "section": "PLACE",
    "path": "priority",
    "kind": "integer",
    "label": "Priority",
    "description": "-9 to 9; the higher goes first",
    "placeholder": "0"
  },
  {
    "section": "LATE",
    "path": "jitter",
    "kind": "duration",
    "label": "Jitter",
    "description": "Start at a random time up to this late",
    "placeholder": "none"
  },
  {
    "section": "PLACE",
    "path": "group",
    "kind": "group",
    "label": "Group",
    "description": "Whose limits it shares",
    "placeholder": "none"
  },
  {
    "section": "PLACE",
    "path": "paused",
    "kind": "boolean",
    "label": "Paused",
    "wide": true
  },
  {
    "section": "PLACE",
    "path": "resumeTime",
    "kind": "instant",
    "label": "Resumes by itself",
    "description": "Empty: when somebody resumes it",
    "only": {
      "path": "paused",
      "values": [
        true
      ]
    }
  }
];
