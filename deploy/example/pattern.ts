/** A stream of bytes that anyone can check: byte i is i modulo 251. */
const MODULUS = 251;
const CHUNK_BYTES = MODULUS * 256;
const chunk = Uint8Array.from({ length: CHUNK_BYTES }, (_, i) => i % MODULUS);

export function patternStream(n: number): ReadableStream<Uint8Array> {
  let left = n;
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      if (left === 0) return controller.close();
      const part = chunk.subarray(0, Math.min(left, CHUNK_BYTES));
      left -= part.length;
      controller.enqueue(part);
    },
  });
}

/** Whether `bytes` is the pattern from `offset` on. */
export function isPattern(bytes: Uint8Array, offset: number): boolean {
  return bytes.every((byte, i) => byte === (offset + i) % MODULUS);
}
