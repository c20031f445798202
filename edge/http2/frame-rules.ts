/** Where each type of frame may stand, and how long it is (RFC 9113 section 6). Pure. */
import type { FloodKind } from "./flood-guard.ts";
import {
  ACK,
  CONTINUATION,
  DATA,
  FRAME_SIZE_ERROR,
  GOAWAY,
  HEADERS,
  PING,
  PRIORITY,
  PROTOCOL_ERROR,
  PUSH_PROMISE,
  RST_STREAM,
  SETTINGS,
  WINDOW_UPDATE,
} from "./protocol.ts";

const SETTING_BYTES = 6;

/** @returns 0, or the error that ends the connection */
export function frameError(type: number, flags: number, streamId: number, length: number): number {
  switch (type) {
    case DATA:
    case HEADERS:
    case CONTINUATION:
      return streamId === 0 ? PROTOCOL_ERROR : 0;
    case PRIORITY:
      if (streamId === 0) return PROTOCOL_ERROR;
      return length === 5 ? 0 : FRAME_SIZE_ERROR;
    case RST_STREAM:
      if (streamId === 0) return PROTOCOL_ERROR;
      return length === 4 ? 0 : FRAME_SIZE_ERROR;
    case SETTINGS:
      if (streamId !== 0) return PROTOCOL_ERROR;
      return length % SETTING_BYTES === 0 && ((flags & ACK) === 0 || length === 0) ? 0 : FRAME_SIZE_ERROR;
    case PING:
      if (streamId !== 0) return PROTOCOL_ERROR;
      return length === 8 ? 0 : FRAME_SIZE_ERROR;
    case GOAWAY:
      if (streamId !== 0) return PROTOCOL_ERROR;
      return length >= 8 ? 0 : FRAME_SIZE_ERROR;
    case WINDOW_UPDATE:
      return length === 4 ? 0 : FRAME_SIZE_ERROR;
    case PUSH_PROMISE:
      return PROTOCOL_ERROR;
    default:
      return 0;
  }
}

/** What a frame counts as because it is there; null for those that are judged by what they do. */
export function floodKind(type: number): FloodKind | null {
  switch (type) {
    case DATA:
    case HEADERS:
    case CONTINUATION:
    case RST_STREAM:
      return null;
    case SETTINGS:
      return "settings";
    case PING:
      return "ping";
    case WINDOW_UPDATE:
      return "window_update";
    default:
      return "ignored";
  }
}
