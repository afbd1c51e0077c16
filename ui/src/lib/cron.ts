import cronstrue from 'cronstrue';

const NAMES = ['second', 'minute', 'hour', 'day', 'month', 'weekday'];

/** The fields of an expression with their names; null for an alias and for what has neither five nor six. */
export function cronFields(expression: string): { name: string; text: string }[] | null {
  const texts = expression.trim().split(/\s+/);
  if (texts.length !== 5 && texts.length !== 6) return null;
  return texts.map((text, index) => ({ name: NAMES[index + NAMES.length - texts.length] ?? '', text }));
}

/** Words for a cron expression, for reading only: what it means is decided by the server. Null when it cannot be said. */
export function cronInWords(expression: string): string | null {
  const trimmed = expression.trim();
  const fields = cronFields(trimmed);
  if (!trimmed.startsWith('@') && !fields) return null;
  if (fields?.some(({ text }) => isHashed(text))) return hashedWords(trimmed);
  const [day = '*', , weekday = '*'] = fields?.slice(-3).map(({ text }) => text) ?? [];
  // As in Debian's cron: a day must match both fields if one of them begins with a star, otherwise either is enough.
  const both = /^[*?]/.test(day) || /^[*?]/.test(weekday);
  try {
    const words = cronstrue.toString(trimmed.replace(/^@annually$/i, '@yearly').replace(/^@midnight$/i, '@daily'), {
      use24HourTimeFormat: true,
      throwExceptionOnParseError: true,
      logicalAndDayFields: both,
    });
    return both ? words : words.replace(/, and on (?!.*, and on )/, ', or on ');
  } catch {
    return null;
  }
}

/** H, H(1-5), H/15 and 0~30 stand for numbers that follow from the name of the task. */
function isHashed(text: string): boolean {
  return /^H\b|,H\b|~/i.test(text);
}

/** What can be said without the server, which alone knows the numbers. */
function hashedWords(expression: string): string {
  const names = (cronFields(expression) ?? []).filter(({ text }) => isHashed(text)).map(({ name }) => name);
  return `${names.join(' and ')} ${names.length === 1 ? 'follows' : 'follow'} from the name of the task`.replace(
    /^./,
    (first) => first.toUpperCase(),
  );
}
