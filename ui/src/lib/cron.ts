import cronstrue from 'cronstrue';

/** Words for a cron expression, for reading only: what it means is decided by the server. Null when it cannot be said. */
export function cronInWords(expression: string): string | null {
  const trimmed = expression.trim();
  const fields = trimmed.split(/\s+/).length;
  if (!trimmed || (!trimmed.startsWith('@') && fields !== 5 && fields !== 6)) return null;
  try {
    return cronstrue.toString(trimmed.replace(/^@annually$/i, '@yearly').replace(/^@midnight$/i, '@daily'), {
      use24HourTimeFormat: true,
      throwExceptionOnParseError: true,
    });
  } catch {
    return null;
  }
}
