import { describe, expect, test } from "bun:test";
import { RunConfig } from "../contract/run-config.ts";
import { linkOf } from "./network/link.ts";
import { getMachine, insertMachine, type Machine } from "./store/machines.ts";
import { aMachineSpec, aStore } from "./store/store.fixture.ts";
import { bareAddress, runConfigOf, stopSignalOf } from "./vm-spec.ts";

const image = {
  file: "/images/base.erofs",
  config: {
    entrypoint: [],
    cmd: ["/bin/app"],
    env: ["A=image"],
    working_dir: "",
    user: "",
    stop_signal: "SIGQUIT",
  },
  size_bytes: 1,
};
const at = { mode: "vm" as const, nowMs: 1_000, nofile: 4_096 };

function aMachine(change: Parameters<typeof aMachineSpec>[0] = {}): Machine {
  const store = aStore();
  const spec = aMachineSpec(change);
  store.write(() => insertMachine(store, spec));
  return getMachine(store, spec.id);
}

describe("runConfigOf()", () => {
  test("gives the guest its env, the platform's variables and its addresses", () => {
    const machine = aMachine();
    const range = { prefix: "gwabcdef", range4: "172.20.16.0/20", range6: "fd12:3456:789a::/48" };
    const link = linkOf(range, { index: 1, machineId: machine.id, orgId: "o", orgNetwork: 1, kind: "tap" });
    const config = RunConfig.parse(runConfigOf(machine, image, link, ["10.0.0.1"], at));
    expect(config.env).toMatchObject({
      SECRET: "canary",
      FLY_APP_NAME: "test",
      FLY_MACHINE_ID: machine.id,
      FLY_REGION: "dev",
      PRIMARY_REGION: "dev",
      FLY_VM_MEMORY_MB: "256",
      FLY_PRIVATE_IP: bareAddress(link.address6),
    });
    expect(config.network).toMatchObject({
      address4: "172.20.16.3/31",
      gateway4: "172.20.16.2",
      nameservers: ["10.0.0.1"],
    });
    expect(config.hosts).toEqual([{ address: bareAddress(link.address6), names: ["fly-local-6pn"] }]);
  });

  test("lets nobody else set the platform's variables", () => {
    const config = runConfigOf(aMachine({ env: { FLY_REGION: "moon" } }), image, null, [], at);
    expect(config.env.FLY_REGION).toBe("dev");
  });

  test("hands the guest its processes, files with secrets resolved, swap and limits", () => {
    const machine = aMachine({
      env: { KEY: "c2VjcmV0" },
      processes: [{ exec: null, entrypoint: null, cmd: ["web"], env: {}, user: "web" }],
      files: [
        { guest_path: "/etc/a", raw_value: "YQ==", mode: 0o644 },
        { guest_path: "/etc/key", secret_name: "KEY", mode: 0o600 },
      ],
      swap_size_mb: 64,
      sysctls: { "net.core.somaxconn": "1024" },
      rlimits: [{ name: "core", soft: 0, hard: "unlimited" }],
    });
    expect(RunConfig.parse(runConfigOf(machine, image, null, [], at))).toMatchObject({
      processes: [{ exec: null, entrypoint: null, command: ["web"], env: {}, user: "web" }],
      files: [{ path: "/etc/a", base64: "YQ==", mode: 0o644 }, {
        path: "/etc/key",
        base64: "c2VjcmV0",
        mode: 0o600,
      }],
      swap_mb: 64,
      sysctls: { "net.core.somaxconn": "1024" },
      limits: { nofile: 4_096, rlimits: [{ name: "core", soft: 0, hard: "unlimited" }] },
    });
  });

  test.each([["not set", {}], ["not base64", { KEY: "!" }]])(
    "refuses a file whose secret is %s, and does not say the secret",
    (why, env) => {
      const machine = aMachine({ env, files: [{ guest_path: "/etc/key", secret_name: "KEY", mode: 0o600 }] });
      expect(() => runConfigOf(machine, image, null, [], at)).toThrow(
        `its file /etc/key is to hold the secret KEY, which is ${why}`,
      );
    },
  );

  test("fits its schema without a network", () => {
    expect(RunConfig.parse(runConfigOf(aMachine(), image, null, [], at)).network).toBeNull();
  });
});

describe("stopSignalOf()", () => {
  test("takes the machine's signal, else the image's, else SIGINT", () => {
    expect(stopSignalOf(aMachine({ stop: { signal: "SIGUSR1", timeout_s: 1 } }), image)).toBe("SIGUSR1");
    expect(stopSignalOf(aMachine(), image)).toBe("SIGQUIT");
    expect(stopSignalOf(aMachine(), null)).toBe("SIGINT");
  });
});
