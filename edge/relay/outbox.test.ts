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
    const socket = { write: take };
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

test("Outbox sends head and body in one write, and in their order, whatever their sizes and what the socket takes", () => {
  const sizes = fc.oneof(fc.nat(100), fc.nat(200_000));
  fc.assert(
    fc.property(
      fc.array(fc.tuple(sizes, sizes, fc.nat(50)), { maxLength: 6 }),
      fc.array(fc.nat(100_000)),
      (messages, takes) => {
        const got: Buffer[] = [];
        let turn = 0;
        const take = (bytes: Buffer) => {
          const count = Math.min(
            bytes.length,
            takes.length === 0 ? bytes.length : takes[turn++ % takes.length]!,
          );
          got.push(Buffer.from(bytes.subarray(0, count)));
          return count;
        };
        const socket = { write: take };
        const outbox = new Outbox();
        outbox.attach(socket as unknown as Socket);
        const want: Buffer[] = [];
        messages.forEach(([headBytes, bodyBytes, from], i) => {
          const head = String.fromCharCode(65 + i).repeat(headBytes);
          const body = Buffer.alloc(from + bodyBytes, 97 + i);
          want.push(Buffer.from(head), body.subarray(from));
          outbox.writeWithHead(head, body, from, body.length);
        });
        for (let i = 0; i < 100 && !outbox.flush(); i++);
        const sent = Buffer.concat(got);
        const all = Buffer.concat(want);
        expect(sent.equals(all.subarray(0, sent.length))).toBe(true);
        expect(sent.length + outbox.bytes).toBe(all.length);
      },
    ),
  );
});

test("Outbox joins a small body to its head as one write", () => {
  for (const size of [0, 100, 4_096, 20_000]) {
    let writes = 0;
    const outbox = new Outbox();
    const write = (bytes: { length: number }) => (writes++, bytes.length);
    outbox.attach({ write } as unknown as Socket);
    outbox.writeWithHead("head", Buffer.alloc(size), 0, size);
    expect({ size, writes }).toEqual({ size, writes: 1 });
  }
});
