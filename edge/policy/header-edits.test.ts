import { describe, expect, test } from "bun:test";
import { HeaderEdits, headerEditsOf } from "./header-edits.ts";

const lines = "Content-Type: text/plain\r\nX-Powered-By: old\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n";

describe("HeaderEdits", () => {
  test("set, give several values, remove, and leave the rest as it came", () => {
    const edits = new HeaderEdits({
      headers: { "x-powered-by": false, "Set-Cookie": ["c=3", "d=4"], "X-New": "1" },
    });
    expect(edits.apply(lines)).toBe(
      "Content-Type: text/plain\r\nSet-Cookie: c=3\r\nSet-Cookie: d=4\r\nX-New: 1\r\n",
    );
  });

  test("never touch where a message ends", () => {
    const edits = new HeaderEdits({
      headers: { "Content-Length": "0", "transfer-encoding": false, Connection: "close" },
    });
    const framed = "Content-Length: 5\r\nX: 1\r\n";
    expect(edits.apply(framed)).toBe(framed);
  });

  test("pristine leaves out the edge's own fields, and an edit of one replaces it", () => {
    const pristine = new HeaderEdits({ pristine: true });
    expect([pristine.server, pristine.via, pristine.requestId, pristine.date]).toEqual([
      false,
      false,
      false,
      true,
    ]);
    expect(pristine.apply(lines)).toBe(lines);
    const named = new HeaderEdits({ headers: { Server: "mine", "fly-request-id": false } });
    expect([named.server, named.via, named.requestId]).toEqual([false, true, false]);
    expect(named.apply("")).toBe("Server: mine\r\n");
  });

  test("are none where nothing is asked", () => {
    expect(headerEditsOf(undefined)).toBe(null);
    expect(headerEditsOf({})).toBe(null);
    expect(headerEditsOf({ headers: {}, pristine: false })).toBe(null);
  });
});
