import { Retries } from '../lib/retries.ts';
import { noteConnection } from './connection.ts';
import { Problem, readProblem } from './problem.ts';

const READ_TIMEOUT_MS = 10_000;
const CHANGE_TIMEOUT_MS = 20_000;
const CHANGE_TRIES = 4;
const CHANGE_WAIT_MIN_MS = 1000;
const CHANGE_WAIT_MAX_MS = 3000;

export type Query = Record<string, string | number | boolean | readonly string[] | undefined>;

/** The path with those parameters that have a value; lists are repeated. */
export function withQuery(path: string, query: Query): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value === undefined || value === '') continue;
    for (const each of Array.isArray(value) ? (value as readonly string[]) : [String(value)])
      parameters.append(key, each);
  }
  const text = parameters.toString();
  return text ? `${path}?${text}` : path;
}

/** Read once. Throws Problem. */
export async function get(path: string, signal?: AbortSignal): Promise<Response> {
  return send('GET', path, { timeoutMs: READ_TIMEOUT_MS, signal });
}

/**
 * Read from the leader's view. While there is no leader, read what the node has applied, and note that it may be old.
 * Throws Problem.
 */
export async function read<Answer>(path: string, query: Query = {}, signal?: AbortSignal): Promise<Answer> {
  try {
    const response = await get(withQuery(path, query), signal);
    noteConnection({ stale: false });
    return (await response.json()) as Answer;
  } catch (problem) {
    if (!(problem instanceof Problem) || (problem.status !== 503 && problem.status !== 504)) throw problem;
    const response = await get(withQuery(path, { ...query, consistency: 'CONSISTENCY_STALE' }), signal);
    noteConnection({ stale: true });
    return (await response.json()) as Answer;
  }
}

/**
 * Change something. Every try carries the same idempotency key, so a repeated one does not act twice. Tries again while no
 * node or no leader answers. Throws Problem.
 */
export async function change<Answer>(
  method: 'POST' | 'PATCH' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<Answer> {
  const key = newKey();
  const retries = new Retries(CHANGE_WAIT_MIN_MS, CHANGE_WAIT_MAX_MS);
  for (let attempt = 1; ; attempt += 1) {
    try {
      const response = await send(method, path, { timeoutMs: CHANGE_TIMEOUT_MS, body, key });
      // A deletion is answered with 204 and no body.
      return (response.status === 204 ? {} : await response.json()) as Answer;
    } catch (problem) {
      if (attempt >= CHANGE_TRIES || !(problem instanceof Problem) || !problem.isOutage) throw problem;
      await new Promise((resolve) => setTimeout(resolve, retries.failed()));
    }
  }
}

/** Ask something that takes a body and changes nothing. Throws Problem. */
export async function ask<Answer>(path: string, body: unknown, signal?: AbortSignal): Promise<Answer> {
  const response = await send('POST', path, { timeoutMs: READ_TIMEOUT_MS, body, signal });
  return (await response.json()) as Answer;
}

interface Options {
  timeoutMs: number;
  body?: unknown;
  key?: string;
  signal?: AbortSignal | undefined;
}

async function send(method: string, path: string, { timeoutMs, body, key, signal }: Options): Promise<Response> {
  const timeout = AbortSignal.timeout(timeoutMs);
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      // The ETag of a task is that of its definition: a conditional request would miss a new next fire or state.
      cache: 'no-store',
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      headers: {
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...(key === undefined ? {} : { 'Idempotency-Key': key }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    noteConnection({ reachable: false });
    throw new Problem(0, 'The node does not answer.');
  }
  noteConnection({ reachable: true });
  if (!response.ok) throw await readProblem(response);
  return response;
}

function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
