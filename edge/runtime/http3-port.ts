/** What the edge asks of a server of HTTP/3 (RFC 9114). Only Bun has one; elsewhere `Runtime.http3` is null. */

export interface Http3Certificate {
  /** Null: for every name without one of its own. */
  readonly name: string | null;
  /** PEM. */
  readonly chain: string;
  readonly key: string;
}

export interface Http3Client {
  readonly address: string;
  readonly port: number;
}

export interface Http3Server {
  readonly port: number;
  /** Takes no new connections. @returns when the last one has ended; at once, cutting all, with `force` */
  stop(force: boolean): Promise<void>;
}

export interface Http3Options {
  readonly address: string;
  /** UDP. */
  readonly port: number;
  readonly certificates: readonly Http3Certificate[];
  readonly idleMsMax: number;
  readonly bodyBytesMax: number;
  answer(request: Request, client: Http3Client): Promise<Response>;
}

export interface Http3Port {
  /** @throws where the port is taken */
  listen(options: Http3Options): Http3Server;
}
