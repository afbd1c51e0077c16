import { useElementSize } from '@mantine/hooks';
import type { ReactNode } from 'react';
import { Link } from 'react-router';
import type { Execution } from '../api/types.ts';
import { formatDuration } from '../lib/duration.ts';
import { PARTS, timingSteps, total, type Day, type MinuteBucket, type Part, type Tally } from '../lib/stats.ts';
import { formatClock, formatTime, timeMs, viewerZone } from '../lib/time.ts';
import { toneOf, wordOf } from './State.tsx';

const LEFT = 80;
const BOTTOM = 20;
const TOP = 8;
const SHOWN_BARS = 60;

interface FrameProps {
  label: string;
  /** Default: a picture. A group holds links. */
  role?: 'img' | 'group';
  height: number;
  top: string;
  from: string;
  to: string;
  /** Draws inside of the axes, between LEFT and `width`. */
  children: (width: number) => ReactNode;
}

/** Axes of a chart: the largest value above, the range of time below. */
function Frame({ label, role = 'img', height, top, from, to, children }: FrameProps) {
  const base = height - BOTTOM;
  const { ref, width } = useElementSize();
  return (
    <div ref={ref} style={{ height }}>
      {width > LEFT ? (
        <svg className="chart" width={width} height={height} role={role} aria-label={label}>
          <line className="axis" x1={LEFT} x2={width} y1={base + 0.5} y2={base + 0.5} />
          <line className="axis" x1={LEFT} x2={width} y1={TOP + 0.5} y2={TOP + 0.5} strokeDasharray="2 4" />
          <text x={LEFT - 6} y={TOP + 4} textAnchor="end">
            {top}
          </text>
          <text x={LEFT - 6} y={base + 3} textAnchor="end">
            0
          </text>
          <text x={LEFT} y={height - 5}>
            {from}
          </text>
          <text x={width} y={height - 5} textAnchor="end">
            {to}
          </text>
          {children(width)}
        </svg>
      ) : null}
    </div>
  );
}

/** Fires per minute, failures at the bottom of each bar. */
export function FiresChart({ buckets }: { buckets: MinuteBucket[] }) {
  const height = 150;
  const most = Math.max(1, ...buckets.map(total));
  const scale = (height - BOTTOM - TOP) / most;
  return (
    <Frame
      label={`Fires per minute: ${countsOf(sumOf(buckets))} in ${String(buckets.length)} minutes, at most ${String(most)} in one`}
      height={height}
      top={String(most)}
      {...rangeOf(buckets)}
    >
      {(width) =>
        buckets.map((bucket, index) => {
          const step = (width - LEFT) / buckets.length;
          let y = height - BOTTOM;
          return (
            <g key={bucket.startMs}>
              <title>{`${formatClock(bucket.startMs, viewerZone()).slice(0, 5)}: ${countsOf(bucket)}`}</title>
              {PARTS.map((part) => {
                const size = bucket[part] * scale;
                y -= size;
                return (
                  <rect
                    key={part}
                    x={LEFT + index * step + 1}
                    y={y}
                    width={Math.max(1, step - 2)}
                    height={size}
                    fill={`var(--${PART_TONES[part]}-solid)`}
                  />
                );
              })}
            </g>
          );
        })
      }
    </Frame>
  );
}

const PART_TONES = { failed: 'bad', succeeded: 'good', running: 'busy', waiting: 'warn', cancelled: 'idle' } as const;

/** "7 executions, 2 failed, 5 waiting": all, and those parts of them that are there. */
function countsOf(tally: Tally): string {
  const parts = PARTS.filter((part) => tally[part] > 0).map((part) => `${String(tally[part])} ${part}`);
  return [`${String(total(tally))} executions`, ...parts].join(', ');
}

function sumOf(tallies: readonly Tally[]): Tally {
  const sum = (part: Part) => tallies.reduce((all, tally) => all + tally[part], 0);
  return Object.fromEntries(PARTS.map((part) => [part, sum(part)])) as Tally;
}

/** What the colours of executions mean. */
export function PartsLegend({ children }: { children?: ReactNode }) {
  return (
    <div className="legend">
      {(['succeeded', 'failed', 'running', 'waiting', 'cancelled'] as const).map((part) => (
        <span key={part}>
          <span className="swatch" style={{ background: `var(--${PART_TONES[part]}-solid)` }} />
          {part}
        </span>
      ))}
      {children}
    </div>
  );
}

/** Largest lateness of each minute, of what has not started too. */
export function LatenessChart({ buckets }: { buckets: MinuteBucket[] }) {
  const height = 150;
  const most = Math.max(1, ...buckets.map((bucket) => latenessOf(bucket) ?? 0));
  const waiting = buckets.some((bucket) => bucket.unstartedMs !== undefined) ? '; some have not started' : '';
  return (
    <Frame
      label={`Largest lateness per minute: at most ${formatDuration(most)}${waiting}`}
      height={height}
      top={formatDuration(most)}
      {...rangeOf(buckets)}
    >
      {(width) =>
        buckets.map((bucket, index) => {
          const step = (width - LEFT) / buckets.length;
          const ms = latenessOf(bucket);
          if (ms === undefined) return null;
          const unstarted = bucket.unstartedMs !== undefined;
          const size = Math.max(1.5, (ms / most) * (height - BOTTOM - TOP));
          return (
            <rect
              key={bucket.startMs}
              x={LEFT + index * step + 1}
              y={height - BOTTOM - size}
              width={Math.max(1, step - 2)}
              height={size}
              fill={`var(--${unstarted ? 'warn' : ms > 10_000 ? 'bad' : 'busy'}-solid)`}
            >
              <title>
                {`${formatClock(bucket.startMs, viewerZone()).slice(0, 5)}: ${formatDuration(ms)}${unstarted ? ', and not started yet' : ''}`}
              </title>
            </rect>
          );
        })
      }
    </Frame>
  );
}

function latenessOf({ latenessMs, unstartedMs }: MinuteBucket): number | undefined {
  return latenessMs === undefined ? unstartedMs : Math.max(latenessMs, unstartedMs ?? 0);
}

function rangeOf(buckets: MinuteBucket[]): { from: string; to: string } {
  const clock = (ms: number | undefined) => (ms === undefined ? '' : formatClock(ms, viewerZone()).slice(0, 5));
  return { from: clock(buckets[0]?.startMs), to: clock(buckets.at(-1)?.startMs) };
}

/** How long the last executions ran, oldest first; each bar leads to its execution. */
export function DurationChart({ executions, zone }: { executions: Execution[]; zone: string }) {
  const height = 150;
  const bars = executions
    .map((execution) => ({ execution, ms: durationMs(execution) }))
    .filter((bar): bar is { execution: Execution; ms: number } => bar.ms !== undefined)
    .slice(0, SHOWN_BARS)
    .toReversed();
  const most = Math.max(1, ...bars.map((bar) => bar.ms));
  const clock = (execution: Execution | undefined) =>
    formatTime(timeMs(execution?.nominalTime) ?? 0, zone).slice(5, 16);
  return (
    <Frame
      role="group"
      label={`Duration of the last ${String(bars.length)} executions that ended; the longest took ${formatDuration(most)}`}
      height={height}
      top={formatDuration(most)}
      from={clock(bars[0]?.execution)}
      to={bars.length >= 12 ? clock(bars.at(-1)?.execution) : ''}
    >
      {(width) =>
        bars.map(({ execution, ms }, index) => {
          const step = (width - LEFT) / Math.max(12, bars.length);
          const size = Math.max(2, (ms / most) * (height - BOTTOM - TOP));
          const words = `${formatTime(timeMs(execution.nominalTime) ?? 0, zone)}: ${formatDuration(ms)}, ${wordOf(execution.state).toLowerCase()}`;
          return (
            <Link key={execution.id} to={`/executions/${execution.id}`} aria-label={words}>
              <rect
                x={LEFT + index * step + 1}
                y={height - BOTTOM - size}
                width={Math.max(1, step - 2)}
                height={size}
                fill={`var(--${toneOf(execution.state)}-solid)`}
              >
                <title>{words}</title>
              </rect>
            </Link>
          );
        })
      }
    </Frame>
  );
}

function durationMs({ startTime, endTime }: Execution): number | undefined {
  const start = timeMs(startTime);
  const end = timeMs(endTime);
  return start === undefined || end === undefined ? undefined : end - start;
}

/** Days down, hours across: the more executions, the stronger; red where some failed. */
export function HeatMap({ days }: { days: { date: string; hours: Tally[] }[] }) {
  const most = Math.max(1, ...days.flatMap((day) => day.hours.map(total)));
  return (
    <div
      className="heat"
      role="img"
      aria-label={`Executions by day and hour in ${String(days.length)} days: ${countsOf(sumOf(days.flatMap((day) => day.hours)))}`}
    >
      <span />
      {Array.from({ length: 24 }, (_, hour) => (
        <span key={hour} style={{ overflow: 'visible', whiteSpace: 'nowrap', width: 0 }}>
          {hour % 6 === 0 ? `${String(hour).padStart(2, '0')}h` : ''}
        </span>
      ))}
      {days.map((day) => [
        <span key={day.date} style={{ lineHeight: '20px' }}>
          {day.date.slice(5)}
        </span>,
        ...day.hours.map((hour, index) => (
          <span
            key={`${day.date} ${String(index)}`}
            className="heat-cell"
            title={`${day.date} ${String(index).padStart(2, '0')}:00: ${countsOf(hour)}`}
            style={total(hour) ? { background: heatColour(hour, most) } : {}}
          />
        )),
      ])}
    </div>
  );
}

/** One failure makes all of a cell red; otherwise each part has a share of it, none less than a quarter. */
function heatColour(cell: Tally, most: number): string {
  const strength = 35 + Math.round((total(cell) / most) * 65);
  const mixed = (part: Part) =>
    `color-mix(in srgb, var(--${PART_TONES[part]}-solid) ${String(strength)}%, var(--surface))`;
  const parts = cell.failed ? (['failed'] as const) : PARTS.filter((part) => cell[part] > 0);
  const weights = parts.map((part) => Math.max(cell[part] / total(cell), 0.25));
  const sum = weights.reduce((all, weight) => all + weight, 0);
  let end = 0;
  const stops = parts.map((part, index) => {
    const start = end;
    end += ((weights[index] ?? 0) / sum) * 100;
    return `${mixed(part)} ${start.toFixed(0)}% ${end.toFixed(0)}%`;
  });
  return `linear-gradient(to top, ${stops.join(', ')})`;
}

/** Days of the last year, a column for each week: the more executions, the stronger; red where some failed. */
export function YearMap({ weeks }: { weeks: (Day | undefined)[][] }) {
  const days = weeks.flat().filter((day) => day !== undefined);
  const most = Math.max(1, ...days.map(total));
  return (
    <div
      className="year"
      role="img"
      aria-label={`Executions by day in ${String(weeks.length)} weeks: ${countsOf(sumOf(days))}`}
    >
      {weeks.map((week, index) => (
        <div key={week[0]?.date} className="year-week">
          <span className="year-month">{monthOf(week, weeks[index - 1])}</span>
          {week.map((day, weekday) => (
            <span
              key={weekday}
              className={day ? 'year-day' : 'year-day year-future'}
              title={day ? `${day.date}: ${countsOf(day)}` : undefined}
              style={day && total(day) ? { background: heatColour(day, most) } : {}}
            />
          ))}
        </div>
      ))}
    </div>
  );
}

/** The name of a month above the first week that begins in it. */
function monthOf(week: (Day | undefined)[], before: (Day | undefined)[] | undefined): string {
  const date = week[0]?.date;
  if (date === undefined || !before || before[0]?.date.slice(0, 7) === date.slice(0, 7)) return '';
  return new Date(`${date}T12:00:00Z`).toLocaleDateString('en', { month: 'short', timeZone: 'UTC' });
}

/** Timing of one execution from its nominal time to its end, each attempt on a line of its own. */
export function Waterfall({ execution, nowMs }: { execution: Execution; nowMs: number }) {
  const steps = timingSteps(execution, nowMs);
  const times = steps.flatMap(({ fromMs, toMs }) => [fromMs, toMs]).filter((ms) => ms !== undefined);
  const first = Math.min(...times);
  const span = Math.max(1, Math.max(...times) - first);
  const percent = (ms: number) => `${String((ms / span) * 100)}%`;
  return (
    <div className="steps" role="list" aria-label="Timing">
      {steps.map(({ name, fromMs, toMs, tone }) => {
        const known = fromMs !== undefined && toMs !== undefined;
        return (
          <div key={name} role="listitem" style={{ display: 'contents' }}>
            <span className="muted">{name}</span>
            <div className="steps-bar">
              {known ? (
                <div
                  style={{
                    left: `min(${percent(fromMs - first)}, calc(100% - 3px))`,
                    width: percent(Math.max(0, toMs - fromMs)),
                    background: `var(--${tone ?? toneOf(execution.state)}-solid)`,
                  }}
                />
              ) : null}
            </div>
            <span className="num nowrap">{known ? formatDuration(toMs - fromMs) : '–'}</span>
          </div>
        );
      })}
    </div>
  );
}
