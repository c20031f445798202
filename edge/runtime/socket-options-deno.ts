/** Socket options that node:net has no call for, on Deno. */
import { sockFprog } from "./sock-fprog.ts";

/** socket(7), on Linux for x86-64 and ARM64. */
const SOL_SOCKET = 1;
const SO_ATTACH_REUSEPORT_CBPF = 51;

/** See `Listener.steer`. Needs `--allow-ffi`. */
export function steerSharedPort(fd: number, program: Uint8Array<ArrayBuffer>): boolean {
  try {
    const libc = Deno.dlopen("libc.so.6", {
      setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
    });
    const option = sockFprog(program, Deno.UnsafePointer.value(Deno.UnsafePointer.of(program)));
    const bytes = option as Uint8Array<ArrayBuffer>;
    return libc.symbols.setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, bytes, option.length) === 0;
  } catch {
    return false; // no permission, or no glibc
  }
}
