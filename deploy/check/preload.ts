/** Runs before every `bun test` (bunfig.toml): stops after the last test what the testbed started. */
import { afterAll } from "bun:test";
import { stopTestbed } from "../servers/testbed.ts";

afterAll(stopTestbed);
