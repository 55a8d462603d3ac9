// The pictures of the page in the documentation: some queues of a shop under a minute of traffic.

import { api, connect, declare, URL_OF_PAGE } from "./api.js";
import { logIn, open, visit } from "./browser.js";

const TRAFFIC_MS = 100_000;
const TICK_MS = 100;
const QUEUES = ["billing", "emails", "images.resize", "orders", "reports.daily", "returns", "stock"];

/** Publishes and consumes with rates that rise and fall; returns what ends it. */
async function traffic() {
  const connections = await Promise.all(["shop", "warehouse", "mailer"].map(connect));
  let ending = false;
  const [publisher, ...others] = await Promise.all(connections.map((connection) => connection.createConfirmChannel()));
  for (const [index, queue] of QUEUES.slice(0, 5).entries()) {
    const consumer = others[index % others.length];
    await consumer.prefetch(20);
    await consumer.consume(queue, (message) => setTimeout(() => { if (!ending) consumer.ack(message); }, 40 + 60 * index));
  }
  let tick = 0;
  const timer = setInterval(() => {
    tick += 1;
    const wave = 1 + Math.sin(tick / 60) + 0.4 * Math.sin(tick / 13);
    for (const [index, queue] of QUEUES.entries()) {
      const messages = Math.round(Math.max(0, wave) * (6 - index) + (tick % (index + 2) === 0 ? 1 : 0));
      for (let number = 0; number < messages; number += 1) publisher.publish("shop.events", `${queue}.new`, Buffer.from(`{"number":${tick}}`), { persistent: true });
    }
  }, TICK_MS);
  return async () => {
    ending = true;
    clearInterval(timer);
    await Promise.all(connections.map((connection) => connection.close()));
  };
}

async function prepare() {
  await api("PUT", "/exchanges/%2F/shop.events", { type: "topic", durable: true });
  for (const queue of QUEUES) {
    await declare(queue, { arguments: { "x-queue-type": queue === "billing" ? "quorum" : "classic", ...(queue === "orders" ? { "x-rewind-seconds": 3600, "x-max-length": 100_000 } : {}) } });
    await api("POST", `/bindings/%2F/e/shop.events/q/${queue}`, { routing_key: `${queue}.#` });
  }
  await declare("audit", { arguments: { "x-queue-type": "stream" } });
  await api("POST", "/bindings/%2F/e/shop.events/q/audit", { routing_key: "#" });
  await api("PUT", "/policies/%2F/shop-limits", { pattern: "^(orders|emails)$", "apply-to": "queues", priority: 5, definition: { "message-ttl": 86_400_000, "max-length": 50_000 } });
  await api("PUT", "/operator-policies/%2F/expiry", { pattern: "^orders", "apply-to": "queues", definition: { "message-ttl": 3_600_000 } });
}

export async function takePictures(browser, folder) {
  await prepare();
  const { context, page } = await open(browser, URL_OF_PAGE, { refusals: false });
  await logIn(page);
  // The broker samples what is looked at, so the queue of the picture is opened before the traffic.
  await visit(page, "queues", "/", "orders");
  const stop = await traffic();
  await page.waitForTimeout(TRAFFIC_MS);
  await page.screenshot({ path: `${folder}/queue.png` });
  await visit(page, "overview");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await page.waitForTimeout(1_000);
  await page.emulateMedia({ colorScheme: "dark" });
  await page.screenshot({ path: `${folder}/overview-dark.png` });
  await page.emulateMedia({ colorScheme: "light" });
  await page.screenshot({ path: `${folder}/overview.png` });
  await page.setViewportSize({ width: 390, height: 780 });
  await visit(page, "queues");
  await page.getByRole("rowheader", { name: "orders" }).waitFor();
  await page.screenshot({ path: `${folder}/phone.png` });
  await context.close();
  await stop();
}
