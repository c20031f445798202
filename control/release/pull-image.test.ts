import { expect, test } from "bun:test";
import { GodwitError } from "../contract/errors.ts";
import { pullImage } from "./pull-image.ts";

const answer = { ref: "app:v1", digest: `sha256:${"a".repeat(64)}`, config: {} as never, size_bytes: 1 };

test("pullImage() tells each new word of the worker once, and ends with the pull", async () => {
  const words = ["resolving", null, "fetched 1 of 3 MB", "fetched 1 of 3 MB", "fetched 3 of 3 MB"];
  const said: string[] = [];
  const all = Promise.withResolvers<void>();
  const pulled = await pullImage(
    { say: (message) => Promise.resolve(void said.push(message)), signal: new AbortController().signal },
    {
      image: () => all.promise.then(() => answer),
      imageProgress: () => {
        const word = words.shift();
        if (word === undefined) all.resolve();
        return word === undefined
          ? Promise.reject(new GodwitError("place.host_unreachable", "away", { fault: "us" }))
          : Promise.resolve(word);
      },
    },
    "app:v1",
    1,
  );
  expect(pulled).toEqual(answer);
  expect(said).toEqual(["Image: resolving", "Image: fetched 1 of 3 MB", "Image: fetched 3 of 3 MB"]);
});

test("pullImage() fails as the pull does", async () => {
  const failure = new GodwitError("image.not_found", "There is no image", { fault: "client" });
  const pulling = pullImage(
    { say: () => Promise.resolve(), signal: new AbortController().signal },
    { image: () => Promise.reject(failure), imageProgress: () => Promise.resolve(null) },
    "app:v1",
  );
  expect(await pulling.catch((error) => error)).toBe(failure);
});
