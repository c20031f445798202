/** A publisher of the API's outbox in a process of its own, to be killed and paused. Its settings come on stdin: they hold passwords. */
import { signingKey } from "../../../control/contract/signing.ts";
import { Publisher } from "../../../control/publish/publisher.ts";
import { connectRedis } from "../../../control/publish/redis.ts";
import { Store } from "../../../control/store/database.ts";

const { databaseUrl, redisUrl, keyPem } = await Bun.stdin.json() as Record<string, string>;
const store = new Store(databaseUrl!);
const redis = connectRedis(redisUrl!);
// Where Redis is away now, the connection comes by itself later.
await redis.connect().catch(() => {});
const log = (level: string, message: string) => console.log(level, message);
const publisher = new Publisher({ store, redis, key: signingKey(keyPem!), log });
await publisher.start();
console.log("publishing");
