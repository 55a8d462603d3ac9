// What checks prepare through the management API and AMQP, without the page.

import amqp from "amqplib";

export const URL_OF_PAGE = process.env.MANAGEMENT_URL;

/** Sends a request as guest; throws for anything but success. */
export async function api(method, path, body) {
  const answer = await fetch(`${URL_OF_PAGE}/api${path}`, {
    method, body: body === undefined ? undefined : JSON.stringify(body),
    headers: { authorization: `Basic ${btoa("guest:guest")}`, "content-type": "application/json" },
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return text === "" ? null : JSON.parse(text);
}

export const queuePath = (name, vhost = "/") => `/queues/${encodeURIComponent(vhost)}/${encodeURIComponent(name)}`;

export const declare = (name, options = {}) => api("PUT", queuePath(name), { durable: true, ...options });

export const removeQueue = (name) => api("DELETE", queuePath(name)).catch(() => {});

export async function publish(queue, payload, properties = {}) {
  await api("POST", "/exchanges/%2F/amq.default/publish", { routing_key: queue, payload, payload_encoding: "string", properties });
}

/** An AMQP connection under a name that the list of connections shows. */
export async function connect(name) {
  const connection = await amqp.connect(process.env.AMQP_URL, { clientProperties: { connection_name: name } });
  connection.on("error", () => {});
  return connection;
}

/** Declares many transient queues through AMQP, pipelined. */
export async function declareMany(prefix, count) {
  const connection = await connect(prefix);
  const channel = await connection.createChannel();
  const step = 500;
  for (let first = 0; first < count; first += step) {
    const names = Array.from({ length: Math.min(step, count - first) }, (_, index) => `${prefix}${String(first + index).padStart(5, "0")}`);
    await Promise.all(names.map((name) => channel.assertQueue(name, { durable: false, exclusive: true })));
  }
  return () => connection.close();
}
