/** Signature first; what it does follows in the next commits. */
export function prepareExample(_folder: string): Promise<{ contextFolder: string; dockerfile: string }> {
  return Promise.reject(new Error("prepareExample: not there yet"));
}
