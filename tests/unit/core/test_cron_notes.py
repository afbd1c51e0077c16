"""Remarks on schedules that do what their writer may not have meant."""

import pytest

from raftsched.core.times.cron_notes import notes, rrule_notes

EITHER = "fires on days that match the day of month, and on days that match the day of week: either is enough"
BOTH = "fires on days that match both the day of month and the day of week, as one of them begins with *"
ANEW = "begins anew with each month: the last step of a month is another one"
REFUSED = "; Vixie cron refuses such a range"
LAST = "; for the last day of each month write L"


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("*/90 * * * *", ["minute field '*/90': a step of 90 is longer than 0 to 59: only 0 is left"]),
        ("*/60 * * * *", ["minute field '*/60': a step of 60 is longer than 0 to 59: only 0 is left"]),
        ("H/70 * * * *", ["minute field 'h/70': a step of 70 is longer than 0 to 59: only one value is left"]),
        ("H(0-9)/15 * * * *", ["minute field 'h(0-9)/15': a step of 15 is longer than 0 to 9: only one value is left"]),
        ("0~30/45 * * * *", ["minute field '0~30/45': a step of 45 is longer than 0 to 30: only one value is left"]),
        ("0 */36 * * *", ["hour field '*/36': a step of 36 is longer than 0 to 23: only 0 is left"]),
        ("0 0 1 */18 *", ["month field '*/18': a step of 18 is longer than 1 to 12: only 1 is left"]),
        ("0 0 */40 * *", ["day of month field '*/40': a step of 40 is longer than 1 to 31: only 1 is left"]),
        ("0 0 * * */7", ["day of week field '*/7': a step of 7 is longer than 0 to 6: only 0 is left"]),
        ("5-10/20,30 * * * *", ["minute field '5-10/20': a step of 20 is longer than 5 to 10: only 5 is left"]),
        ("50/20 * * * *", ["minute field '50/20': a step of 20 is longer than 50 to 59: only 50 is left"]),
        ("*/90 * * * * *", ["second field '*/90': a step of 90 is longer than 0 to 59: only 0 is left"]),
        ("*/7 * * * *", ["minute field '*/7': after 56 comes 0, 4 minutes later and not 7"]),
        ("*/40 * * * *", ["minute field '*/40': after 40 comes 0, 20 minutes later and not 40"]),
        ("5/7 * * * *", ["minute field '5/7': after 54 comes 5, 11 minutes later and not 7"]),
        ("H/7 * * * *", ["minute field 'h/7': 60 is no multiple of 7: the last gap of each round is another one"]),
        ("0 */5 * * *", ["hour field '*/5': after 20 comes 0, 4 hours later and not 5"]),
        ("0 0 1 */5 *", ["month field '*/5': after 11 comes 1, 2 months later and not 5"]),
        ("0 0 * * */2", ["day of week field '*/2': after 6 comes 0, 1 day later and not 2"]),
        ("0 0 */2 * *", [f"day of month field '*/2' {ANEW}"]),
        ("0 0 * * 3/2", ["day of week field '3/2' goes on to 7, which is Sunday too"]),
        ("0 0 * * fri/1", ["day of week field 'fri/1' goes on to 7, which is Sunday too"]),
        ("0 0 * * 0/7", ["day of week field '0/7': a step of 7 is longer than 0 to 7: only 0 is left"]),
        ("0 0 31 * *", [f"does not fire in February, April, June, September and November, for lack of a day 31{LAST}"]),
        ("0 0 30,31 * *", [f"does not fire in February, for lack of a day 30{LAST}"]),
        ("0 0 31 */2 *", [f"does not fire in September and November, for lack of a day 31{LAST}"]),
        ("0 0 31 apr-jun *", [f"does not fire in April and June, for lack of a day 31{LAST}"]),
        ("0 0 29 * *", ["fires in February of leap years only"]),
        ("0 0 29 2 *", ["fires in leap years only"]),
        ("5-1 * * * *", [f"minute field '5-1' wraps around: 5 to 59 and 0 to 1{REFUSED}"]),
        ("0 0 * * fri-mon", [f"day of week field 'fri-mon' wraps around: 5 to 6 and 0 to 1{REFUSED}"]),
        ("0 0 13 * 5", [EITHER]),
        ("0 0 */16 * 5", [f"day of month field '*/16' {ANEW}", BOTH]),
        ("* 3 * * *", ["minute field '*': fires every minute of the hours that match; for once an hour write 0"]),
        ("* * 9 * * *", ["six fields, so the first is the second: fires every second of the minutes that match"]),
    ],
)  # fmt: skip
def test_what_may_not_be_meant_is_said(expression, found):
    assert list(notes(expression)) == found


@pytest.mark.parametrize(
    "expression",
    ["* * * * *", "0 0 * * *", "*/15 * * * *", "5/15 * * * *", "H/15 * * * *", "H H * * *",
     "*/7 3 * * *", "0-20/5 * * * *",
     "0 */6 * * *", "0 0 1 */3 *", "0 9 * * mon-fri", "0 0 L * *", "0 0 15W * *",
     "0 0 LW * *", "0 0 * * 5#2", "0 0 31 1,3,5 *", "0 0 1,31 * *", "0 0 31 H *", "0 0 H * *", "0 0 ? * 1",
     "@yearly", "@daily",
     "0 */2 * * * *", "* */2 * * *", "7 8-18/2 * * *", "not an expression", "61 * * * *", ""],
)  # fmt: skip
def test_what_is_plain_needs_no_remark(expression):
    assert notes(expression) == ()


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("FREQ=MONTHLY;BYMONTHDAY=31", True),
        ("DTSTART:20260131T090000\nRRULE:FREQ=MONTHLY;INTERVAL=2;BYMONTHDAY=30,31;BYHOUR=9", True),
        ("FREQ=MONTHLY;BYMONTHDAY=1,31", False),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", False),
        ("FREQ=YEARLY;BYMONTH=1;BYMONTHDAY=31", False),
    ],
)
def test_rules_of_days_that_not_every_month_has(lines, found):
    assert bool(rrule_notes(lines)) is found
