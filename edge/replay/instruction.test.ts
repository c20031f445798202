import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  type Instruction,
  INSTRUCTION_BYTES_MAX,
  parseReplayField,
  parseReplayJson,
  STATE_BYTES_MAX,
} from "./instruction.ts";

const NOTHING: Instruction = {
  regions: null,
  instance: null,
  preferInstance: null,
  app: null,
  state: null,
  elsewhere: false,
  timeoutMs: null,
  fallback: null,
  ignored: [],
};
const ID = "9080e6f3aabbcc";

test("parseReplayField() reads the reference's examples", () => {
  const examples: Record<string, Partial<Instruction>> = {
    "region=sjc": { regions: ["sjc"] },
    "app=shop": { app: "shop" },
    [`instance=${ID}`]: { instance: ID },
    "region=SJC;state=captured": { regions: ["sjc"], state: "captured" },
    'region="ord,us, any"': { regions: ["ord", "us", "any"] },
    "region=ord,iad": { regions: ["ord", "iad"] },
    "elsewhere=true": { elsewhere: true },
    [`prefer_instance=${ID};timeout=10s;fallback=prefer_self`]: {
      preferInstance: ID,
      timeoutMs: 10_000,
      fallback: "prefer_self",
    },
    " app = shop ; region = eu ;timeout=800ms; fallback=force_self; ": {
      app: "shop",
      regions: ["eu"],
      timeoutMs: 800,
      fallback: "force_self",
    },
    'app=shop;state="a;b=\\"c\\" \\\\"': { app: "shop", state: 'a;b="c" \\' },
    "app=shop;state=a=b": { app: "shop", state: "a=b" },
    "app=shop;state=": { app: "shop", state: "" },
  };
  for (const [text, fields] of Object.entries(examples)) {
    expect(parseReplayField(text), text).toEqual({ ...NOTHING, ...fields });
  }
});

test("parseReplayField() says what is wrong", () => {
  const wrong: Record<string, string> = {
    "": "names no region",
    "state=x": "names no region",
    "elsewhere=false": "names no region",
    region: "has no value",
    "regoin=ord": 'no field "regoin"',
    "region=ord;region=iad": "stands there twice",
    'region="ord': "no closing quote",
    'region="ord" iad': "something follows",
    "region=": "region",
    "region=london-1": "region",
    "instance=../../etc": "instance",
    "app=UPPER": "app",
    "app=shop;timeout=10": "timeout",
    "app=shop;timeout=0s": "timeout",
    "app=shop;timeout=99s": "timeout",
    "app=shop;fallback=self": "fallback",
    "app=shop;elsewhere=maybe": "elsewhere",
    [`app=shop;state=${"s".repeat(STATE_BYTES_MAX + 1)}`]: "state",
    [`app=shop;state=${"s".repeat(INSTRUCTION_BYTES_MAX)}`]: "too long",
    __proto__: "has no value",
    "__proto__=x": "no field",
    "constructor=x": "no field",
  };
  for (const [text, why] of Object.entries(wrong)) {
    const said = parseReplayField(text);
    expect(typeof said === "string" ? said : "it was taken", text).toContain(why);
  }
});

test("parseReplayJson() reads the same fields, and names those that come later", () => {
  const body = JSON.stringify({
    region: "ord,us",
    app: "shop",
    state: 'x;y="z"',
    timeout: "2s",
    fallback: null,
    transform: { path: "/x" },
    cache: { prefix: "/" },
  });
  expect(parseReplayJson(body)).toEqual({
    ...NOTHING,
    regions: ["ord", "us"],
    app: "shop",
    state: 'x;y="z"',
    timeoutMs: 2_000,
    ignored: ["transform", "cache"],
  });
  expect(parseReplayJson(`{"region":["ord"],"elsewhere":true}`)).toMatchObject({
    regions: ["ord"],
    elsewhere: true,
  });
  for (
    const wrong of [
      "",
      "[]",
      "null",
      "7",
      "{}",
      `{"app":7}`,
      `{"app":"shop","extra":1}`,
      `{"app":"shop","state":"a\\r\\nX: y"}`,
      `{"app":"shop","state":"\\u2603"}`,
      `{"__proto__":{"app":"shop"}}`,
    ]
  ) expect(typeof parseReplayJson(wrong), wrong).toBe("string");
});

const quoted = (text: string) => `"${text.replace(/[\\"]/g, "\\$&")}"`;
const regions = fc.uniqueArray(fc.constantFrom("ord", "iad", "ams", "eu", "usa", "any"), {
  minLength: 1,
  maxLength: 6,
});
const state = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((c) => String.fromCharCode(c)) });

test("an instruction says the same in both forms, however its parts are ordered and spaced", () => {
  const parts = fc.record({
    region: regions,
    app: fc.constantFrom("shop", "a", "my-app-2"),
    state,
    timeout: fc.integer({ min: 1, max: 60_000 }).map((ms) => `${ms}ms`),
    fallback: fc.constantFrom("force_self", "prefer_self"),
    instance: fc.constant(ID),
  }, { requiredKeys: ["app"] });
  fc.assert(fc.property(parts, fc.boolean(), fc.constantFrom("", " ", "\t "), (fields, backwards, blank) => {
    const written = Object.entries(fields).map(([key, value]) =>
      `${blank}${key}${blank}=${blank}${quoted(Array.isArray(value) ? value.join(",") : value!)}${blank}`
    );
    if (backwards) written.reverse();
    const read = parseReplayField(written.join(";"));
    expect(typeof read).toBe("object");
    expect(read).toEqual(parseReplayJson(JSON.stringify(fields)));
  }));
});

test("parseReplayField() and parseReplayJson() throw nothing and let no line end through, whatever comes", () => {
  const bytes = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((c) => String.fromCharCode(c)) });
  const like = fc.array(
    fc.constantFrom("app=", "shop", ";", '"', "\\", "state=", "\r\n", "region=", ",", " ", "\u0000"),
  )
    .map((parts) => parts.join(""));
  fc.assert(fc.property(fc.oneof(bytes, like), (text) => {
    for (
      const said of [
        parseReplayField(text),
        parseReplayJson(text),
        parseReplayJson(JSON.stringify({ app: "a", state: text })),
      ]
    ) {
      if (typeof said === "object") expect(said.state ?? "").not.toMatch(/[\r\n\0]/);
    }
  }));
});
