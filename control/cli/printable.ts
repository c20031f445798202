/** What others wrote may steer a terminal: such bytes are shown instead of obeyed. Tab and colour stay. */
export function printable(text: string): string {
  return text.replace(
    /[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]|\x1b(?!\[[0-9;]*m)/g,
    (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
