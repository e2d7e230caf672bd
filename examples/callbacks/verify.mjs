// Is this callback ours, whole and fresh?
// WEBHOOK_SECRET=whsec_… node verify.mjs ID TIMESTAMP SIGNATURE < body

import { createHmac, timingSafeEqual } from "node:crypto";
import { realpathSync } from "node:fs";
import { buffer } from "node:stream/consumers";

const TOLERANCE_S = 300;

// Takes three headers and the body as it came, a Buffer. Throws an Error that says why not.
export function verify(secret, id, timestamp, signature, body) {
  const age = Date.now() / 1000 - Number(timestamp);
  if (!/^\d+$/.test(timestamp) || Math.abs(age) > TOLERANCE_S) {
    throw new Error("sent too long ago, or not yet");
  }
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  if (key.length !== 32) {
    throw new Error("this is no secret of an endpoint");
  }
  const digest = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body);
  const expected = Buffer.from("v1," + digest.digest("base64"));
  // While a secret is rotated there are two signatures; one that fits is enough.
  const given = signature.split(" ").map((each) => Buffer.from(each));
  if (!given.some((each) => each.length === expected.length && timingSafeEqual(each, expected))) {
    throw new Error("no signature fits");
  }
}

if (import.meta.filename === realpathSync(process.argv[1])) {
  const [id, timestamp, signature] = process.argv.slice(2);
  try {
    verify(process.env.WEBHOOK_SECRET, id, timestamp, signature, await buffer(process.stdin));
    console.log("verified");
  } catch (error) {
    console.error(`refused: ${error.message}`);
    process.exitCode = 1;
  }
}
