// Exchanges, bindings, policies, definitions, virtual hosts and users in the browser.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { api, connect, declare, publish, queuePath, removeQueue } from "./api.js";
import { logIn, reads, unfold, visit } from "./browser.js";

const QUEUE = "page.policies";
const HOST = "page/host";
const USER = "page.user";

export const checks = {
  async "set a policy, and see on the queue what it changes"({ page }) {
    await removeQueue(QUEUE);
    await declare(QUEUE);
    await api("DELETE", "/policies/%2F/page.limit").catch(() => {});
    await logIn(page);
    await visit(page, "policies");
    await page.getByRole("button", { name: "Add a policy" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Name", { exact: true }).fill("page.limit");
    await dialog.getByLabel("Pattern of names").fill("^page\\.policies$");
    await dialog.getByLabel("Applies to").selectOption("queues");
    await dialog.getByLabel("Name of the entry").fill("max-length");
    await dialog.getByLabel("Value of the entry").fill("7");
    await dialog.getByRole("button", { name: "Set it" }).click();
    await page.getByRole("rowheader", { name: "page.limit" }).waitFor();
    await visit(page, "queues", "/", QUEUE);
    const row = page.getByRole("row").filter({ hasText: "max-length" });
    await row.waitFor();
    assert.match(await row.innerText(), /7\s+policy\s*page\.limit/);
    await visit(page, "policies");
    await page.getByRole("row").filter({ hasText: "page.limit" }).getByRole("button", { name: "Delete" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByRole("rowheader", { name: "page.limit" }).waitFor({ state: "detached" });
  },

  async "bind, publish through an exchange, unbind"({ page }) {
    await removeQueue(QUEUE);
    await declare(QUEUE);
    await api("PUT", "/exchanges/%2F/page.exchange", { type: "topic", durable: true });
    await logIn(page);
    await visit(page, "exchanges", "/", "page.exchange");
    await unfold(page, "Add a binding");
    const panel = page.locator("details", { hasText: "Add a binding" });
    await panel.getByLabel("Its name").fill(QUEUE);
    await panel.getByLabel("Routing key").fill("orders.#");
    await panel.getByRole("button", { name: "Bind" }).click();
    await page.getByRole("rowheader", { name: QUEUE }).waitFor();
    await unfold(page, "Publish a message");
    const publishing = page.locator("details", { hasText: "Publish a message" });
    await publishing.getByLabel("Routing key").fill("orders.new");
    await publishing.getByLabel("Payload", { exact: true }).fill("routed");
    await publishing.getByRole("button", { name: "Publish" }).click();
    await page.getByText("Published.").waitFor();
    await publishing.getByLabel("Routing key").fill("elsewhere");
    await publishing.getByRole("button", { name: "Publish" }).click();
    await page.getByText("Not routed").waitFor();
    await page.getByRole("button", { name: "Unbind" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Unbind" }).click();
    await page.getByRole("rowheader", { name: QUEUE }).waitFor({ state: "detached" });
    await api("DELETE", "/exchanges/%2F/page.exchange");
  },

  async "add a shovel, see it move messages and fail, restart and delete it"({ page }) {
    for (const name of [QUEUE, `${QUEUE}.to`]) await removeQueue(name);
    await declare(QUEUE);
    await publish(QUEUE, "moved");
    await logIn(page);
    await visit(page, "shovels");
    await page.getByRole("button", { name: "Add a shovel" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Name", { exact: true }).fill("page.shovel");
    await dialog.getByLabel("Source: name").fill(QUEUE);
    await dialog.getByLabel("Destination: URI").fill("amqp:///%2f");
    await dialog.getByLabel("Destination: name").fill(`${QUEUE}.to`);
    await dialog.getByRole("button", { name: "Add the shovel" }).click();
    const state = page.getByRole("region", { name: "State" }).getByRole("row").filter({ hasText: "page.shovel" });
    await reads(state, /running/);
    await reads(state, new RegExp(`${QUEUE}[^]*${QUEUE}\\.to\\s+1\\s`));
    await state.getByRole("link", { name: `${QUEUE}.to` }).waitFor();
    await state.getByRole("button", { name: "Restart" }).click();
    await page.getByText("Restarted: shovel page.shovel.").waitFor();
    const broken = { "src-uri": "amqp://", "src-queue": QUEUE, "dest-uri": "amqp://user:secret@127.0.0.1:1/%2f", "dest-queue": "q" };
    await api("PUT", "/parameters/shovel/%2F/page.shovel", { value: broken });
    await reads(state, /terminated\s+destination: cannot connect/);
    const defined = page.getByRole("region", { name: "Definitions" }).getByRole("row").filter({ hasText: "page.shovel" });
    assert.match(await defined.innerText(), /amqp:\/\/127\.0\.0\.1:1\//);
    assert.doesNotMatch(await page.locator("main").innerText(), /secret/);
    await defined.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByText("There is no shovel.").waitFor();
    await page.getByText("No shovel runs.").waitFor();
  },

  async "export definitions, and import them"({ page }) {
    await removeQueue(QUEUE);
    await declare(QUEUE);
    await logIn(page);
    await visit(page, "definitions");
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download" }).click()]);
    const exported = JSON.parse(await readFile(await file.path(), "utf8"));
    assert.ok(exported.queues.some(({ name }) => name === QUEUE));
    await removeQueue(QUEUE);
    await page.getByLabel("File").setInputFiles(await file.path());
    await page.getByRole("button", { name: "Import" }).click();
    await page.getByText("The definitions are imported.").waitFor();
    assert.equal((await api("GET", queuePath(QUEUE))).name, QUEUE);
    const foreign = { ...exported, parameters: [{ vhost: "/", component: "federation-upstream", name: "page.upstream", value: {} }] };
    await page.getByLabel("File").setInputFiles({ name: "foreign.json", mimeType: "application/json", buffer: Buffer.from(JSON.stringify(foreign)) });
    await page.getByRole("button", { name: "Import" }).click();
    await page.getByRole("dialog").getByText("page.upstream").waitFor();
  },

  async "a virtual host and a user with permissions"({ page }) {
    await api("DELETE", `/vhosts/${encodeURIComponent(HOST)}`).catch(() => {});
    await api("DELETE", `/users/${USER}`).catch(() => {});
    await logIn(page);
    await visit(page, "vhosts");
    await page.getByRole("button", { name: "Add a virtual host" }).click();
    await page.getByRole("dialog").getByLabel("Name", { exact: true }).fill(HOST);
    await page.getByRole("dialog").getByRole("button", { name: "Add the virtual host" }).click();
    await page.getByRole("rowheader", { name: HOST }).waitFor();
    await visit(page, "users");
    await page.getByRole("button", { name: "Add a user" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Name", { exact: true }).fill(USER);
    await dialog.getByLabel("Password").fill("secret");
    await dialog.getByLabel("management: ").check();
    await dialog.getByRole("button", { name: "Add the user" }).click();
    await page.getByRole("rowheader", { name: USER }).getByRole("link").click();
    await page.reload();
    await unfold(page, "Set permissions");
    await page.locator("details", { hasText: "Set permissions" }).getByLabel("Virtual host").selectOption(HOST);
    await page.getByRole("button", { name: "Set permissions" }).click();
    await page.getByRole("region", { name: "Permissions", exact: true }).getByRole("rowheader", { name: HOST }).first().waitFor();
    assert.deepEqual(await api("GET", `/permissions/${encodeURIComponent(HOST)}/${USER}`), { user: USER, vhost: HOST, configure: ".*", write: ".*", read: ".*" });
    await api("DELETE", `/vhosts/${encodeURIComponent(HOST)}`);
    await api("DELETE", `/users/${USER}`);
  },

  async "a connection and its channel, and closing it"({ page, allowRefusals }) {
    // A refresh that the page gave up may still be answered: the connection is gone.
    allowRefusals();
    const connection = await connect("page.client");
    const closed = new Promise((resolve) => connection.once("close", resolve));
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue("", { exclusive: true });
    await channel.consume(queue, () => {}, { consumerTag: "page.consumer" });
    await publish(queue, "unacked");
    await logIn(page);
    await visit(page, "queues", "/", queue);
    await page.getByRole("rowheader", { name: "page.consumer" }).waitFor();
    await visit(page, "connections");
    const row = page.getByRole("row").filter({ hasText: "page.client" });
    await row.getByRole("link").click();
    await page.getByRole("region", { name: "Channels" }).first().getByRole("link").click();
    await page.getByRole("rowheader", { name: "page.consumer" }).waitFor();
    await reads(page.locator("dt", { hasText: /^Unacked$/ }).locator("+ dd"), "1");
    await page.goBack();
    await page.getByRole("button", { name: "Close this connection" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Close the connection" }).click();
    await closed;
    await page.getByRole("heading", { name: "Connections" }).waitFor();
  },
};
