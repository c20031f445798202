/** What a guest of this benchmark says on its console: `godwit-bench: NAME=NUMBER …`, in as many lines as it likes. */
export const MARK = "godwit-bench:";

export function consoleFigures(text: string): Map<string, number> {
  const figures = new Map<string, number>();
  // A last line that is not whole yet may be cut in the middle of a number.
  for (const line of text.split("\n").slice(0, -1)) {
    const at = line.indexOf(MARK);
    if (at === -1) continue;
    for (const [, name, value] of line.slice(at).matchAll(/(\w+)=(\d+(?:\.\d+)?)/g)) {
      figures.set(name!, Number(value));
    }
  }
  return figures;
}
