/** Every bound of the relay, with its unit. Tests make some of them small. */
export interface Limits {
  readonly requestLineBytesMax: number;
  readonly fieldLineBytesMax: number;
  readonly headBytesMax: number;
  readonly fieldsMax: number;
  /** Of one chunk's size line, extensions included. */
  readonly chunkLineBytesMax: number;
  readonly trailerBytesMax: number;
  readonly bodyBytesMax: number;
  /** 1xx responses before the final one. */
  readonly interimResponsesMax: number;
  /** From the first byte of a head to its last. */
  readonly headWaitMsMax: number;
  /** A kept-alive client connection without a request. */
  readonly clientIdleMsMax: number;
  /** Between two reads of a request's body. */
  readonly bodyIdleMsMax: number;
  /** Of a body whose length is known, so that its sender has all of it, over the time that it was waited for. */
  readonly bodyBytesPerSecondMin: number;
  /** For how long a body may be slower. */
  readonly bodyGraceMsMax: number;
  /** From a request's head to its response's last byte; tunnels have their own. */
  readonly exchangeMsMax: number;
  readonly connectWaitMsMax: number;
  /** From the request's last byte to the response's head. */
  readonly responseWaitMsMax: number;
  /** Between two reads of a response's body, or two writes to a client that does not read. */
  readonly responseIdleMsMax: number;
  readonly tunnelIdleMsMax: number;
  /** A client that closed its sending side may have gone; it gets a response that starts within this time. */
  readonly halfClosedWaitMsMax: number;
  /** After a refusal the rest of the client's bytes is read and dropped, so that a reset does not destroy the answer. */
  readonly lingerMsMax: number;
  readonly lingerBytesMax: number;
  /**
   * Kernel's receive buffer of a connection to a machine in the edge's own region, so that a slow client holds no more
   * than this of a large response in memory. Elsewhere the kernel chooses: a far machine needs a large window.
   */
  readonly upstreamReceiveBufferBytes: number;
  readonly upstreamIdleMsMax: number;
  readonly upstreamIdlePerMachineMax: number;
  readonly clientConnectionsMax: number;
}

export const LIMITS: Limits = {
  requestLineBytesMax: 8_192,
  fieldLineBytesMax: 16_384,
  headBytesMax: 65_536,
  fieldsMax: 128,
  chunkLineBytesMax: 256,
  trailerBytesMax: 8_192,
  bodyBytesMax: Number.MAX_SAFE_INTEGER,
  interimResponsesMax: 16,
  headWaitMsMax: 15_000,
  clientIdleMsMax: 75_000,
  bodyIdleMsMax: 60_000,
  bodyBytesPerSecondMin: 256,
  bodyGraceMsMax: 30_000,
  // A day: event streams and long polls live for hours.
  exchangeMsMax: 86_400_000,
  connectWaitMsMax: 5_000,
  responseWaitMsMax: 60_000,
  responseIdleMsMax: 300_000,
  tunnelIdleMsMax: 3_600_000,
  halfClosedWaitMsMax: 2_000,
  lingerMsMax: 2_000,
  lingerBytesMax: 1_048_576,
  upstreamReceiveBufferBytes: 131_072,
  // Below the 5 s after which many servers close an idle connection; the reference names about 4 s too.
  upstreamIdleMsMax: 4_000,
  upstreamIdlePerMachineMax: 256,
  clientConnectionsMax: 20_000,
};
