/** Adds up what the checks say, and reads `bun test`'s summary lines. Pure. */
export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export const NOTHING: Tally = { passed: 0, failed: 0, skipped: 0 };
export const PASS: Tally = { passed: 1, failed: 0, skipped: 0 };
export const FAIL: Tally = { passed: 0, failed: 1, skipped: 0 };

export function add(a: Tally, b: Tally): Tally {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

/**
 * What one run of `bun test` came to. A run that ended badly without a failed test (a crash, a time limit, a file that
 * does not load) counts as one failure, so that nothing fails in silence.
 */
export function tallyOf(output: string, status: number | null): Tally {
  // deno-lint-ignore no-control-regex -- colours of a terminal
  const plain = output.replace(/\x1b\[[0-9;]*m/g, "");
  const last = (word: string) =>
    Number(Array.from(plain.matchAll(new RegExp(`^ *(\\d+) ${word}$`, "gm"))).at(-1)?.[1] ?? 0);
  // A test that ran into a reason not to run prints `skipped: REASON` and passes for bun.
  const said = Array.from(plain.matchAll(/^skipped: /gm)).length;
  const passed = Math.max(0, last("pass") - said);
  const failed = last("fail");
  return {
    passed,
    failed: status === 0 ? failed : Math.max(1, failed),
    skipped: last("skip") + last("todo") + said,
  };
}

/** The last line of the check. */
export function summary(tally: Tally): string {
  const skipped = tally.skipped === 0 ? "" : `, ${tally.skipped} skipped`;
  return `${tally.passed} passed, ${tally.failed} failed${skipped}`;
}
