// Give one instruction and follow it to its outcome. Run `npm ci` first.
//
//   BROKER_URL=amqps://partner.acme:…@host/vhost \
//   node instruct.mjs deposit invoice-4711 '{"wallet_id": "…", "amount": 25000, "currency": "KES"}'
//
// Exit code 0: it succeeded; 1: it was refused or rejected; 2: nothing is known of it yet.
import { setTimeout as pause } from "node:timers/promises";
import amqp from "amqplib";

const [type, key, data] = process.argv.slice(2);
const url = process.env.BROKER_URL;
const partner = decodeURIComponent(new URL(url).username).replace(/^partner\./, "");
const message = { version: 1, idempotency_key: key, type, data: JSON.parse(data) };
const outcomes = ["instruction.refused", "instruction.rejected", "instruction.succeeded"];

// Published again, with the same key, until the broker confirms that it keeps the message.
async function publish() {
  for (;;) {
    try {
      const connection = await amqp.connect(url);
      connection.on("error", () => {}); // What it breaks is seen below.
      const channel = await connection.createConfirmChannel();
      let returned = false;
      channel.on("return", () => (returned = true));
      const options = { contentType: "application/json", persistent: true, mandatory: true, messageId: key };
      channel.publish(`in.${partner}`, "", Buffer.from(JSON.stringify(message)), options);
      await channel.waitForConfirms();
      await connection.close();
      if (!returned) return;
    } catch (error) {
      console.error(`not confirmed: ${error.message}`);
    }
    await pause(1000);
  }
}

async function follow() {
  const connection = await amqp.connect(url);
  const channel = await connection.createChannel();
  await channel.prefetch(100);
  const ended = new Promise((resolve) => {
    channel.consume(`out.${partner}`, (delivery) => {
      const event = JSON.parse(delivery.content.toString());
      console.log(event.type, JSON.stringify(event.data));
      // A program of your own would keep what it was told here, by event.id, and then:
      channel.ack(delivery);
      if (outcomes.includes(event.type) && event.data.idempotency_key === key) {
        resolve(event.type === "instruction.succeeded" ? 0 : 1);
      }
    });
  });
  const code = await Promise.race([ended, pause(30_000, 2, { ref: false })]);
  await connection.close();
  return code;
}

await publish();
process.exitCode = await follow();
