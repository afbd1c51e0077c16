import { Link } from 'react-router';
import type { RecentRun } from '../api/types.ts';
import { formatDuration, protoDurationMs } from '../lib/duration.ts';
import { formatTime, timeMs, viewerZone } from '../lib/time.ts';
import { toneOf, wordOf } from './State.tsx';

/** The last runs of a task, the newest on the right: colour tells how each ended, height how long it took. */
export function RunStrip({ runs, zone = viewerZone() }: { runs: RecentRun[] | undefined; zone?: string }) {
  if (!runs?.length) return <span className="muted">–</span>;
  const durations = runs.map((run) => protoDurationMs(run.duration));
  const longest = Math.max(1, ...durations.map((ms) => ms ?? 0));
  return (
    <div className="strip">
      {runs.toReversed().map((run) => {
        const ms = protoDurationMs(run.duration);
        const words = [formatTime(timeMs(run.nominalTime) ?? 0, zone), wordOf(run.state), ms && formatDuration(ms)];
        return (
          <Link
            key={run.executionId}
            to={`/executions/${run.executionId ?? ''}`}
            title={words.filter(Boolean).join(' · ')}
            aria-label={words.filter(Boolean).join(', ')}
          >
            <span
              style={{
                height: `${String(40 + 60 * ((ms ?? longest) / longest))}%`,
                background: `var(--${toneOf(run.state)}-solid)`,
              }}
            />
          </Link>
        );
      })}
    </div>
  );
}
