/**
 * The streams that compress. Levels and windows are chosen for answers made while somebody waits: about a third of a
 * megabyte of memory each for gzip and about one for the others, where the libraries' own defaults reach 16.
 */
import {
  type BrotliCompress,
  constants,
  createBrotliCompress,
  createGzip,
  createZstdCompress,
  type Gzip,
  type ZstdCompress,
} from "node:zlib";
import type { Coding } from "./accept-encoding.ts";

export type Encoder = Gzip | BrotliCompress | ZstdCompress;

const GZIP_LEVEL = 5;
const BROTLI_QUALITY = 4;
const ZSTD_LEVEL = 3;
/** Powers of two: 256 KB. */
const WINDOW_BITS = 18;

export function makeEncoder(coding: Coding): Encoder {
  switch (coding) {
    case "gzip":
      return createGzip({ level: GZIP_LEVEL });
    case "br":
      return createBrotliCompress({
        params: {
          [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY,
          [constants.BROTLI_PARAM_LGWIN]: WINDOW_BITS,
        },
      });
    case "zstd":
      return createZstdCompress({
        params: {
          [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL,
          [constants.ZSTD_c_windowLog]: WINDOW_BITS,
        },
      });
  }
}

/** How each is told to give out all that it has so far. */
export const FLUSH: Readonly<Record<Coding, number>> = {
  gzip: constants.Z_SYNC_FLUSH,
  br: constants.BROTLI_OPERATION_FLUSH,
  zstd: constants.ZSTD_e_flush,
};
