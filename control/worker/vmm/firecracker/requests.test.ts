import { expect, test } from "bun:test";
import { spec } from "../vm-spec.fixture.ts";
import { Swagger, SWAGGER_MISSING } from "./fake/swagger.fixture.ts";
import { IN_JAIL, resumeRequests, startRequests } from "./requests.ts";

const pathsOf = (requests: readonly { path: string }[]) => requests.map(({ path }) => path);
const bodyOf = (requests: ReturnType<typeof startRequests>, path: string) =>
  requests.find((request) => request.path === path)?.body;

test("startRequests() configures everything before it starts, drives in the order of DRIVES", () => {
  expect(pathsOf(startRequests(spec))).toEqual([
    "/logger",
    "/metrics",
    "/serial",
    "/machine-config",
    "/boot-source",
    "/drives/init",
    "/drives/image",
    "/drives/layer",
    "/drives/config",
    "/network-interfaces/eth0",
    "/vsock",
    "/entropy",
    "/balloon",
    "/actions",
  ]);
  const readOnly = startRequests(spec).filter(({ path }) => path.startsWith("/drives/"))
    .map(({ body }) => body.is_read_only);
  expect(readOnly).toEqual([true, true, false, true]);
});

test("startRequests() leaves out the interface of a machine without a link, and limits that there are none of", () => {
  const bare = startRequests({ ...spec, link: null });
  expect(pathsOf(bare)).not.toContain("/network-interfaces/eth0");
  expect(JSON.stringify(bare.filter(({ path }) => path !== "/serial"))).not.toContain("rate_limiter");
});

test("startRequests() turns rates into token buckets of one second", () => {
  const requests = startRequests({
    ...spec,
    rates: { diskIops: 300, diskBytesPerS: 4_194_304, networkBytesPerS: 1_000_000 },
  });
  expect(bodyOf(requests, "/drives/layer")?.rate_limiter).toEqual({
    bandwidth: { size: 4_194_304, refill_time: 1_000 },
    ops: { size: 300, refill_time: 1_000 },
  });
  expect(bodyOf(requests, "/drives/image")?.rate_limiter).toBeUndefined();
  const each = { bandwidth: { size: 1_000_000, refill_time: 1_000 } };
  expect(bodyOf(requests, "/network-interfaces/eth0")).toMatchObject({
    rx_rate_limiter: each,
    tx_rate_limiter: each,
  });
});

test("resumeRequests() loads a snapshot before any device, and takes the tap that there is now", () => {
  const requests = resumeRequests(spec);
  expect(pathsOf(requests)).toEqual(["/logger", "/metrics", "/serial", "/snapshot/load"]);
  expect(bodyOf(requests, "/snapshot/load")).toMatchObject({
    mem_backend: { backend_type: "File", backend_path: IN_JAIL.memory },
    resume_vm: true,
    network_overrides: [{ iface_id: "eth0", host_dev_name: "gw00abcdt7" }],
  });
});

const swagger = Swagger.load();
const unlessMissing = swagger === null ? ` (skipped: ${SWAGGER_MISSING})` : "";
test.skipIf(swagger === null)(
  `every request that is sent is one that the swagger takes${unlessMissing}`,
  () => {
    const rates = { diskIops: 1, diskBytesPerS: 1, networkBytesPerS: 1 };
    for (const request of [...startRequests({ ...spec, rates }), ...resumeRequests(spec)]) {
      expect(swagger!.fault(request.definition, request.body)).toBeNull();
    }
  },
);
