import { cronFields, cronInWords } from '../../lib/cron.ts';
import type { FormState } from './useTaskForm.ts';

const EXPRESSION = 'schedule.cron.expression';
const PRESETS: readonly [string, string][] = [
  ['Every minute', '* * * * *'],
  ['Every 15 minutes', '*/15 * * * *'],
  ['Every hour', '0 * * * *'],
  ['Every day', '0 3 * * *'],
  ['Weekdays', '0 9 * * mon-fri'],
  ['Every Sunday', '0 4 * * sun'],
  ['First of the month', '0 5 1 * *'],
  ['Last of the month', '0 23 L * *'],
];

/** The cron expression in words and field by field, and some to begin with. */
export function CronHelp({ state }: { state: FormState }) {
  const expression = String(state.form.values[EXPRESSION] ?? '');
  const words = cronInWords(expression);
  const fields = cronFields(expression);
  return (
    <div className="cron">
      <p role="status" aria-label="In words" className={words ? 'cron-words' : 'muted'}>
        {words ??
          (fields
            ? 'See beside when it fires'
            : 'Five fields, six with seconds first, or @hourly, @daily and the like')}
      </p>
      {fields ? (
        <dl className="cron-fields">
          {fields.map(({ name, text }) => (
            <div key={name}>
              <dd className="mono">{text}</dd>
              <dt>{name}</dt>
            </div>
          ))}
        </dl>
      ) : null}
      <div className="presets" role="group" aria-label="Common expressions">
        {PRESETS.map(([label, preset]) => (
          <button
            key={preset}
            type="button"
            title={preset}
            aria-pressed={preset === expression.trim()}
            onClick={() => {
              state.set(EXPRESSION, preset);
            }}
          >
            {label}
          </button>
        ))}
      </div>
    </div>
  );
}
