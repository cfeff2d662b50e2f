// node sign.mjs SECRET ID BODY: the headers of a delivery, as JSON.
import { Webhook } from "standardwebhooks";

const [secret, id, body] = process.argv.slice(2);
const now = new Date();
console.log(
  JSON.stringify({
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
    "webhook-signature": new Webhook(secret).sign(id, now, body),
  }),
);
