/** Payload in the chunks of HTTP/1.1 (RFC 9112 section 7.1). */

export const CHUNK_END = Buffer.from("0\r\n\r\n", "latin1");
const LINE_END = 0x0d0a;

/** @param ends the last chunk follows, without trailers */
export function chunk(bytes: Buffer, from: number, to: number, ends: boolean): Buffer {
  const size = (to - from).toString(16);
  const start = size.length + 2;
  const end = start + to - from;
  const framed = Buffer.allocUnsafeSlow(end + 2 + (ends ? CHUNK_END.length : 0));
  framed.write(size, 0, "latin1");
  framed.writeUInt16BE(LINE_END, size.length);
  bytes.copy(framed, start, from, to);
  framed.writeUInt16BE(LINE_END, end);
  if (ends) CHUNK_END.copy(framed, end + 2);
  return framed;
}

/** @param trailers lines with CR LF each */
export function lastChunk(trailers: string): Buffer {
  return Buffer.from(`0\r\n${trailers}\r\n`, "latin1");
}
