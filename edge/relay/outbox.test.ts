import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Socket } from "../runtime/socket-port.ts";
import { Outbox } from "./outbox.ts";

test("Outbox keeps the order of bytes whatever the socket takes", () => {
  const piece = fc.oneof(fc.string({ maxLength: 20 }).map((s) => Buffer.from(s)), fc.constant("latin1 \xe9"));
  fc.assert(fc.property(fc.array(piece), fc.array(fc.nat(7)), (pieces, takes) => {
    const got: Buffer[] = [];
    let turn = 0;
    const take = (bytes: Buffer) => {
      const count = Math.min(bytes.length, takes.length === 0 ? bytes.length : takes[turn++ % takes.length]!);
      got.push(bytes.subarray(0, count));
      return count;
    };
    const socket = { write: take, writeLatin1: (text: string) => take(Buffer.from(text, "latin1")) };
    const outbox = new Outbox();
    outbox.attach(socket as unknown as Socket);
    const want: Buffer[] = [];
    for (const each of pieces) {
      want.push(typeof each === "string" ? Buffer.from(each, "latin1") : each);
      if (typeof each === "string") outbox.writeLatin1(each);
      else outbox.write(each);
      outbox.flush();
    }
    const sent = Buffer.concat(got);
    const all = Buffer.concat(want);
    expect(sent.equals(all.subarray(0, sent.length))).toBe(true);
    expect(sent.length + outbox.bytes).toBe(all.length);
    expect(outbox.empty).toBe(sent.length === all.length);
  }));
});
