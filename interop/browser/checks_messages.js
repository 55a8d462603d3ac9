// The life of a queue in the browser: from its declaration to its deletion.

import assert from "node:assert/strict";
import { exec } from "node:child_process";
import { promisify } from "node:util";
import { api, declare, publish, queuePath, removeQueue } from "./api.js";
import { figure, logIn, reads, unfold, visit } from "./browser.js";

const QUEUE = "page.orders";

/** Kills the broker and starts it again on the same data. */
const restart = () => promisify(exec)(process.env.INTEROP_RESTART);

/** The vertical extent of a chart's lines: 0 while all are flat. */
function chartHeight(page, title) {
  return page.getByRole("region", { name: title }).locator("path").evaluateAll((paths) => Math.max(...paths.map((path) => path.getBBox().height)));
}

async function publishInPage(page, payload) {
  const panel = page.locator("details", { hasText: "Publish a message" });
  if (!(await panel.getAttribute("open") !== null)) await panel.locator("summary").click();
  await panel.getByLabel("Payload", { exact: true }).fill(payload);
  await panel.getByRole("button", { name: "Publish" }).click();
  await page.getByText("Published.").last().waitFor();
}

export const checks = {
  async "create a queue in a dialog"({ page }) {
    await removeQueue(QUEUE);
    await logIn(page);
    await page.getByRole("link", { name: "Queues", exact: true }).click();
    await page.getByRole("button", { name: "Add a queue" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Name", { exact: true }).fill(QUEUE);
    await dialog.getByLabel("Name of the entry").fill("x-rewind-seconds");
    await dialog.getByLabel("Value of the entry").fill("600");
    assert.equal(await dialog.getByLabel("Type of the value").inputValue(), "number");
    await dialog.getByRole("button", { name: "Add the queue" }).click();
    await page.getByRole("rowheader", { name: QUEUE }).waitFor();
    const { arguments: declared } = await api("GET", queuePath(QUEUE));
    assert.equal(declared["x-rewind-seconds"], 600);
  },

  async "publish, and see the count and the chart move"({ page }) {
    await removeQueue(QUEUE);
    await declare(QUEUE);
    await logIn(page);
    await visit(page, "queues", "/", QUEUE);
    await reads(figure(page, "Ready"), "0");
    for (let number = 1; number <= 3; number += 1) await publishInPage(page, `order ${number}`);
    await reads(figure(page, "Ready"), "3");
    const deadline = Date.now() + 20_000;
    while ((await chartHeight(page, "Messages")) < 10) {
      assert.ok(Date.now() < deadline, "the chart of messages stays flat");
      await page.waitForTimeout(100);
    }
  },

  async "get messages, and leave or take them"({ page }) {
    await removeQueue(QUEUE);
    await declare(QUEUE);
    for (const payload of ["first", "second"]) await publish(QUEUE, payload, { headers: { colour: "grey" }, message_id: `id of ${payload}` });
    await logIn(page);
    await visit(page, "queues", "/", QUEUE);
    await unfold(page, "Get messages");
    const panel = page.locator("details", { hasText: "Get messages" });
    await panel.getByLabel("Messages", { exact: true }).fill("5");
    await panel.getByRole("button", { name: "Get messages" }).click();
    await panel.getByRole("article", { name: "Message 2" }).waitFor();
    const text = await panel.getByRole("article", { name: "Message 1" }).innerText();
    for (const part of ["first", "id of first", "colour = grey"]) assert.ok(text.includes(part), `"${part}" is missing in ${text}`);
    await reads(figure(page, "Ready"), "2");
    await panel.getByLabel("Afterwards").selectOption("ack_requeue_false");
    await panel.getByLabel("Messages", { exact: true }).fill("1");
    await panel.getByRole("button", { name: "Get messages" }).click();
    await reads(figure(page, "Ready"), "1");
  },

  async "rewind a queue"({ page }) {
    await removeQueue(QUEUE);
    await declare(QUEUE, { arguments: { "x-rewind-seconds": 600 } });
    for (const payload of ["a", "b", "c"]) await publish(QUEUE, payload);
    await api("POST", `${queuePath(QUEUE)}/get`, { count: 3, ackmode: "ack_requeue_false", encoding: "auto" });
    await logIn(page);
    await visit(page, "queues", "/", QUEUE);
    await reads(figure(page, "Rewindable"), "3");
    await reads(figure(page, "Ready"), "0");
    await page.getByRole("button", { name: "Rewind" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Rewind" }).click();
    await reads(figure(page, "Ready"), "3");
  },

  async "move the messages of a queue"({ page }) {
    const other = `${QUEUE}.other`;
    for (const queue of [QUEUE, other]) {
      await removeQueue(queue);
      await declare(queue);
    }
    for (const payload of ["a", "b"]) await publish(QUEUE, payload);
    await logIn(page);
    await visit(page, "queues", "/", QUEUE);
    await reads(figure(page, "Ready"), "2");
    await page.getByRole("button", { name: "Move" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("To the queue").fill(other);
    await dialog.getByRole("button", { name: "Move" }).click();
    await reads(figure(page, "Ready"), "0");
    await visit(page, "queues", "/", other);
    await reads(figure(page, "Ready"), "2");
    await removeQueue(other);
  },

  async "purge and delete a queue"({ page, allowRefusals }) {
    // A refresh that the page gave up may still be answered: the queue is gone.
    allowRefusals();
    await removeQueue(QUEUE);
    await declare(QUEUE);
    await publish(QUEUE, "gone soon");
    await logIn(page);
    await visit(page, "queues", "/", QUEUE);
    await reads(figure(page, "Ready"), "1");
    await page.getByRole("button", { name: "Purge" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Purge" }).click();
    await reads(figure(page, "Ready"), "0");
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete the queue" }).click();
    await page.getByRole("heading", { name: "Queues", exact: true }).waitFor();
    await assert.rejects(api("GET", queuePath(QUEUE)), /404/);
  },

  async "a condition that does not hold keeps the queue"({ page, allowRefusals }) {
    allowRefusals();
    await removeQueue(QUEUE);
    await declare(QUEUE);
    await publish(QUEUE, "still here");
    await logIn(page);
    await visit(page, "queues", "/", QUEUE);
    await page.getByRole("button", { name: "Delete" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Only if it is empty").check();
    await dialog.getByRole("button", { name: "Delete the queue" }).click();
    await page.locator(".toasts .danger").waitFor();
    assert.equal((await api("GET", queuePath(QUEUE))).name, QUEUE);
  },

  async "a restart of the broker is noticed and survived"({ page, allowRefusals }) {
    allowRefusals();
    await removeQueue(QUEUE);
    await declare(QUEUE);
    await publish(QUEUE, "survives", { delivery_mode: 2 });
    await logIn(page);
    await page.getByLabel("Refresh").selectOption("2");
    await visit(page, "queues", "/", QUEUE);
    await reads(figure(page, "Ready"), "1");
    await page.route("**/api/**", (route) => route.abort());
    await page.getByText("The broker does not answer.").first().waitFor();
    await restart();
    await page.unroute("**/api/**");
    await page.getByText("The broker does not answer.").first().waitFor({ state: "hidden" });
    await reads(figure(page, "Ready"), "1");
    await page.getByLabel("Refresh").selectOption("5");
  },
};
