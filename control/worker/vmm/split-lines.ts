/** Cuts a byte stream into lines and refuses one that is too long: the peers of QMP and of the guest are not trusted. */
import { GodwitError } from "../../contract/errors.ts";

const LINE_FEED = 0x0a;

/** Collects bytes until a line feed. The bound holds for what is kept between chunks, too. */
export class LineSplitter {
  #kept: Buffer[] = [];
  #keptBytes = 0;

  constructor(readonly lineBytesMax: number) {}

  /**
   * Lines completed by this chunk, without their line feed.
   * @throws GodwitError `guest.protocol_error` on a line above the bound
   */
  push(chunk: Uint8Array): string[] {
    const lines: string[] = [];
    let rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    for (let end = rest.indexOf(LINE_FEED); end !== -1; end = rest.indexOf(LINE_FEED)) {
      this.#keep(rest.subarray(0, end));
      lines.push(this.flush());
      rest = rest.subarray(end + 1);
    }
    if (rest.length > 0) this.#keep(Buffer.from(rest));
    return lines;
  }

  /** What came after the last line feed. */
  flush(): string {
    const line = Buffer.concat(this.#kept).toString("utf8");
    this.#kept = [];
    this.#keptBytes = 0;
    return line;
  }

  #keep(bytes: Buffer): void {
    this.#keptBytes += bytes.length;
    if (this.#keptBytes > this.lineBytesMax) {
      throw new GodwitError("guest.protocol_error", `A line is longer than ${this.lineBytesMax} bytes`, {
        fault: "us",
      });
    }
    this.#kept.push(bytes);
  }
}

export async function* splitLines(
  chunks: AsyncIterable<Uint8Array>,
  lineBytesMax: number,
): AsyncGenerator<string, void, void> {
  const splitter = new LineSplitter(lineBytesMax);
  for await (const chunk of chunks) yield* splitter.push(chunk);
  const last = splitter.flush();
  if (last !== "") yield last;
}
