/**
 * The waits between the tries of something that fails: twice as long each time, up to a bound, less a random part of up to a
 * half, so that all browsers do not come back together. They start anew when it has gone on for as long as the longest wait.
 */
export class Retries {
  private failures = 0;
  private sinceMs = Infinity;

  constructor(
    private readonly lowMs: number,
    private readonly highMs: number,
    private readonly nowMs: () => number = () => performance.now(),
    private readonly random: () => number = Math.random,
  ) {}

  /** It goes on since now. */
  began(): void {
    this.sinceMs = this.nowMs();
  }

  /** It has ended or failed: how long to wait, in milliseconds. */
  failed(): number {
    if (this.nowMs() - this.sinceMs >= this.highMs) this.failures = 0;
    this.sinceMs = Infinity;
    const ceilingMs = Math.min(this.lowMs * 2 ** this.failures, this.highMs);
    this.failures += 1;
    return ceilingMs * (1 - this.random() / 2);
  }
}
