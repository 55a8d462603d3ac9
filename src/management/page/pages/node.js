// The node: memory, disk, descriptors, and where its files are.

import { get, path } from "../lib/api.js";
import { bytes, count, dateTime, duration } from "../lib/format.js";
import { el } from "../lib/dom.js";
import { Chart, chartPanel } from "../parts/chart.js";
import { alarms, meters } from "../parts/node.js";
import { facts, panel, Slot, tablePanel, tag } from "../parts/page.js";
import { levels } from "../parts/samples.js";
import { numbers, Table } from "../parts/table.js";

const SAMPLES = { node_stats_age: 600, node_stats_incr: 5 };

export async function node(view) {
  const warnings = new Slot();
  const limits = new Slot();
  const about = new Slot();
  const memory = new Chart("Memory used", bytes, 1024);
  const disk = new Chart("Free disk", bytes, 1024);
  const parts = new Table({ caption: "Memory by use", columns: PARTS, key: ({ name }) => name, empty: "The broker does not say." });
  const title = new Slot("h1");
  title.update(null, () => "Node");
  view.show(el("div", { class: "head" }, title.element), warnings.element, el("div", { class: "grid two" }, panel("Limits", limits.element), panel("Node", about.element),
    chartPanel("Memory used", memory), chartPanel("Free disk", disk), el("div", { class: "wide" }, tablePanel("Memory by use", parts))));
  await view.keep(async (signal) => {
    const [{ name }] = await get("/api/nodes", { query: { columns: "name" }, signal });
    const [one, breakdown] = await Promise.all([get(path`/api/nodes/${name}`, { query: SAMPLES, signal }), get(path`/api/nodes/${name}/memory`, { signal })]);
    title.update(name, () => `Node ${name}`);
    warnings.update(alarms(one), (texts) => texts.map((text) => el("div", { class: "notice danger" }, text)));
    limits.update(one, meters);
    about.update(one, aboutNode);
    memory.update([{ title: "Used", colour: 1, points: levels(one.mem_used_details), now: one.mem_used }]);
    disk.update([{ title: "Free", colour: 3, points: levels(one.disk_free_details), now: typeof one.disk_free === "number" ? one.disk_free : 0 }]);
    parts.update(partsOf(breakdown.memory));
  });
}

const PARTS = [{ title: "Part", value: ({ name }) => name.replaceAll("_", " ") }, numbers("Size", ({ size }) => size, bytes)];

function partsOf(memory) {
  if (memory === null || typeof memory !== "object") return [];
  return Object.entries(memory).filter(([, size]) => typeof size === "number" && size > 0).map(([name, size]) => ({ name, size })).sort((a, b) => b.size - a.size);
}

function aboutNode(one) {
  return facts([
    ["State", one.running ? tag("running", "good") : tag("not running", "danger")],
    ["Up since", `${dateTime(Date.now() - one.uptime)} (${duration(one.uptime)})`],
    ["Process", one.os_pid],
    ["Processors", count(one.processors)],
    ["Data directory", one.db_dir && el("code", {}, one.db_dir)],
    ["Configuration", one.config_files?.length > 0 ? one.config_files.map((file) => el("div", {}, el("code", {}, file))) : "no file"],
    ["Log", one.log_files?.map((file) => el("div", {}, el("code", {}, file)))],
  ]);
}
