import { describe, expect, test } from "bun:test";
import { deployInput } from "./deploy.ts";

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
