/** For tests that start nothing: a machine as the drivers' requests and arguments tell of it. */
export const spec = {
  machineId: "0123456789abcd",
  folder: "/home/machines/0123456789abcd",
  runFolder: "/run/godwit-1/machines/0123456789abcd",
  prefix: "gw00abcd",
  guest: { cpu_kind: "shared" as const, cpus: 2 as const, memory_mb: 512 },
  imageFile: "/home/images/sha256-1.erofs",
  layerFile: "/home/machines/0123456789abcd/layer.ext4",
  link: { name: "gw00abcdt7", mac: "02:01:23:45:67:89" },
  rates: { diskIops: null, diskBytesPerS: null, networkBytesPerS: null },
  attempt: 0,
};
