import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deployInput, machineInput } from "./deploy.ts";

describe("deployInput()", () => {
  test("leaves out what was not asked for, so that the API's defaults and the last release hold", () => {
    expect(deployInput("web", { image: "x", service: true }, [])).toEqual({ app: "web" });
  });

  test("takes size, environment, port and command", () => {
    const flags = {
      image: "x",
      service: true,
      vmMemory: 512,
      vmCpus: 2,
      env: ["A=1", "B=x=y", "C="],
      internalPort: 9_000,
      waitTimeout: 30,
    };
    expect(deployInput("web", flags, ["serve", "--fast"])).toEqual({
      app: "web",
      guest: { memoryMb: 512, cpus: 2 },
      env: [{ name: "A", value: "1" }, { name: "B", value: "x=y" }, { name: "C", value: "" }],
      services: [{ protocol: "tcp", internal_port: 9_000, ports: [{ port: 80, handlers: ["http"] }] }],
      command: ["serve", "--fast"],
      waitTimeoutS: 30,
    });
    expect(deployInput("web", { image: "x", service: false }, []).services).toEqual([]);
  });

  test("refuses none or several of image, Dockerfile and layout, and contradictions", () => {
    expect(() => deployInput("web", { service: true }, [])).toThrow("Deploy what?");
    expect(() => deployInput("web", { dockerfile: "x", ociLayout: "y", service: true }, [])).toThrow(
      "Deploy what?",
    );
    expect(() => deployInput("web", { image: "x", dockerfile: "y", service: true }, [])).toThrow(
      "Deploy what?",
    );
    expect(() => deployInput("web", { image: "x", service: false, internalPort: 1 }, [])).toThrow(
      "contradict",
    );
  });

  test("does not repeat a mistyped variable, which may be a secret", () => {
    expect(() => deployInput("web", { image: "x", service: true, env: ["hunter2"] }, []))
      .toThrow(expect.objectContaining({ message: expect.not.stringContaining("hunter2") }));
  });
});

describe("machineInput()", () => {
  test("reads settings from a file, the restart policy on top, and asks for nothing by itself", () => {
    const folder = mkdtempSync(join(tmpdir(), "godwit-deploy-"));
    const file = join(folder, "machine.json");
    writeFileSync(file, '{"swap_size_mb": 64, "restart": {"policy": "no"}}');
    expect(machineInput({ service: true })).toEqual({});
    expect(machineInput({ service: true, machineConfig: file, restart: "always" })).toEqual({
      machine: { swap_size_mb: 64, restart: { policy: "always" } },
    });
    writeFileSync(file, '{"files": "hunter2');
    expect(() => machineInput({ service: true, machineConfig: file })).toThrow("it is not JSON");
    expect(() => machineInput({ service: true, machineConfig: file })).not.toThrow("hunter2");
    expect(() => machineInput({ service: true, machineConfig: join(folder, "none") })).toThrow("ENOENT");
    rmSync(folder, { recursive: true });
  });
});
