import type { ClockStatus } from '../api/types.ts';
import { formatDuration, protoDurationMs } from './duration.ts';

/** Offsets that nobody needs to know the sign of. */
const SAME_MS = 1;

/** How far the clock of a machine is from the time that the nodes agreed on. */
export function clockWords(clock: ClockStatus | undefined): string {
  const offset = protoDurationMs(clock?.offset);
  if (offset === undefined) return 'No time was agreed yet';
  if (Math.abs(offset) < SAME_MS) return 'Clock as agreed';
  return `Clock ${formatDuration(Math.abs(offset))} ${offset > 0 ? 'ahead' : 'behind'}`;
}
