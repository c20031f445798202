/** How long to wait before another generation is built, so that 1,000 edges that meet the same fault never act in step. Pure. */
export function healDelayMs(
  attempts: number,
  { healDelayMs, healDelayMsMax }: { readonly healDelayMs: number; readonly healDelayMsMax: number },
  random: () => number,
): number {
  const ceiling = Math.min(healDelayMsMax, healDelayMs * 2 ** Math.min(attempts, 30));
  return ceiling / 2 + random() * ceiling / 2;
}
