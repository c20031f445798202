/** Text of an app or a machine for a terminal: bytes that would steer it are shown instead of obeyed. Tab and colour stay. */
export function plainText(text: string): string {
  return text.replace(
    /[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f]|\x1b(?!\[[0-9;]*m)/g,
    (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
