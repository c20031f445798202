/** What an exchange carries where it is traced. */
export interface Trace {
  /** 32 hexadecimal digits (W3C Trace Context, section 3.2.2.3). */
  readonly traceId: string;
}
