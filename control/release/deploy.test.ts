import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { IMAGE_DIGEST } from "../place/worker.fixture.ts";
import { TestControl } from "./control.fixture.ts";

let control: TestControl;
beforeAll(async () => {
  control = await TestControl.start();
}, 60_000);
afterAll(() => control.close());

describe("deploy()", () => {
  test("takes an image to a started machine and publishes its services", async () => {
    await control.api.createApp("web");
    const release = await control.deployed("web", "test/app:1");
    expect(release.error).toBeNull();
    expect(release.status).toBe("SUCCEEDED");
    expect(release.imageDigest).toBe(IMAGE_DIGEST);
    const { app } = await control.api.ask(`{ app(name: "web") { status url currentRelease { version }
      machines { edges { node { machineId state hostStatus privateIp image guest { memoryMb } } } } } }`);
    expect(app.status).toBe("DEPLOYED");
    expect(app.currentRelease.version).toBe(1);
    expect(app.machines.edges).toHaveLength(1);
    expect(app.machines.edges[0].node).toMatchObject({
      state: "STARTED",
      hostStatus: "OK",
      guest: { memoryMb: 256 },
    });
  });
});
