import { expect, test } from "bun:test";
import { runConfig } from "../config.fixture.ts";
import { parseRunConfig } from "./run-config.ts";

const padded = (text: string) => Buffer.concat([Buffer.from(text), Buffer.alloc(300)]);

test("parseRunConfig() reads JSON up to the padding", () => {
  const config = runConfig("vm", { cmd: ["/app"] });
  expect(parseRunConfig(padded(JSON.stringify(config)), "vm", "/dev/vdd")).toEqual(config);
  expect(parseRunConfig(Buffer.from(JSON.stringify(config)), "vm", "/dev/vdd")).toEqual(config);
});

test("parseRunConfig() quotes nothing of a text that is not JSON, because it holds secrets", () => {
  expect(() => parseRunConfig(padded('{"env":{"KEY":"hunter2"'), "vm", "/dev/vdd")).toThrow(
    "Cannot read the run configuration from /dev/vdd: 23 characters are not JSON",
  );
});

test("parseRunConfig() refuses another schema and another mode", () => {
  const config = { ...runConfig("vm", {}), schema: 2 };
  expect(() => parseRunConfig(padded(JSON.stringify(config)), "vm", "/dev/vdd")).toThrow(
    "its schema is 2, this vm-init knows 1",
  );
  expect(() => parseRunConfig(padded("null"), "vm", "/dev/vdd")).toThrow("its schema is undefined");
  expect(() => parseRunConfig(padded(JSON.stringify(runConfig("container", {}))), "vm", "/dev/vdd")).toThrow(
    "it is for a container, this is a vm",
  );
});
