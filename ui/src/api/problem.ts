import type { FieldViolation } from './types.ts';

/** The API answered with an error (RFC 9457), or nothing answered at all (status 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly violations: FieldViolation[] = [],
  ) {
    super(message);
    this.name = 'Problem';
  }

  /** No node answered, or none that could. */
  get isOutage(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

/** Reads an error answer; a body that is no problem document still gives a Problem. */
export async function readProblem(response: Response): Promise<Problem> {
  const text = await response.text();
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = {};
  }
  const document = isRecord(body) ? body : {};
  const message = [document.detail, document.title].find((part) => typeof part === 'string' && part !== '');
  const found: unknown[] = Array.isArray(document.violations) ? document.violations : [];
  return new Problem(
    response.status,
    typeof message === 'string' ? message : `The node answered with HTTP ${String(response.status)}.`,
    found.filter(isRecord).map((violation) => ({
      field: String(violation.field ?? ''),
      description: String(violation.description ?? ''),
    })),
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
